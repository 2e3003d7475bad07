//! Opening and making the repository; what may be expected of it.

use std::{io::Write as _, os::fd::AsFd, sync::Arc};

use bootwright_core::{
    context::{BackendContext, Sealing},
    error::{Error, ErrorKind, IoContext, Result},
    registry::Verity,
};
use composefs::{
    fsverity::{Algorithm, FsVerityHashValue, Sha256HashValue, enable_verity_raw},
    repository::{Repository, RepositoryConfig, RepositoryOpenError},
};
use rustix::{
    fs::{Mode, OFlags},
    io::Errno,
};

use crate::{
    errors::{LibraryContext, library},
    seal,
};

/// The repository, relative to the physical root.
pub(crate) const REPOSITORY: &str = "composefs";
/// Its description; the repository counts as able to verify if this very file has fs-verity.
pub(crate) const METADATA: &str = "composefs/meta.json";

/// Runs an expression with `$repo` as the opened repository, whatever its hash is.
macro_rules! with_repo {
    ($context:expr, |$repo:ident| $body:expr) => {{
        let context: &bootwright_core::context::BackendContext = $context;
        match $crate::repo::algorithm(context)? {
            composefs::fsverity::Algorithm::Sha256 { .. } => {
                let $repo = $crate::repo::open::<composefs::fsverity::Sha256HashValue>(context)?;
                $body
            }
            composefs::fsverity::Algorithm::Sha512 { .. } => {
                let $repo = $crate::repo::open::<composefs::fsverity::Sha512HashValue>(context)?;
                $body
            }
        }
    }};
}
pub(crate) use with_repo;

/// Whether there is a repository.
pub(crate) fn exists(context: &BackendContext) -> bool {
    context.sysroot.exists(METADATA)
}

/// The hash that names its objects.
///
/// # Errors
/// `NotFound` without a repository; `Unsupported` if the kernel cannot open its sealed files.
pub(crate) fn algorithm(context: &BackendContext) -> Result<Algorithm> {
    let none = || {
        Error::not_found(format!("there is no composefs repository at {}", context.sysroot.show(REPOSITORY)))
            .with_hint("install first, or name the root file system that holds it")
    };
    if !exists(context) {
        return Err(none());
    }
    let folder = open_folder(context)?;
    let found =
        composefs::repository::read_repo_algorithm(&folder).map_err(|error| opening(context, &error))?;
    found.ok_or_else(none)
}

/// Opens the repository. Holds a shared lock until it is dropped, so that nobody collects garbage meanwhile.
pub(crate) fn open<H: FsVerityHashValue>(context: &BackendContext) -> Result<Arc<Repository<H>>> {
    let opened = Repository::open_path(context.sysroot.dir().as_fd(), REPOSITORY);
    opened.map(Arc::new).map_err(|error| match error {
        RepositoryOpenError::OldFormatRepository => {
            Error::unsupported("the composefs repository has an old format without meta.json")
                .with_hint("upgrade it with the tool that made it")
        }
        other => opening(context, &other.into()),
    })
}

fn opening(context: &BackendContext, error: &anyhow::Error) -> Error {
    let unsupported =
        |errno: i32| errno == Errno::OPNOTSUPP.raw_os_error() || errno == Errno::NOTSUP.raw_os_error();
    let is_unsupported = error.chain().any(|cause| {
        let io = cause.downcast_ref::<std::io::Error>().and_then(std::io::Error::raw_os_error);
        io.or_else(|| cause.downcast_ref::<Errno>().map(|errno| errno.raw_os_error()))
            .is_some_and(unsupported)
    });
    if is_unsupported {
        return Error::unsupported(
            "the repository is sealed, and this kernel has no fs-verity to read it with",
        )
        .with_hint("run this on a kernel with CONFIG_FS_VERITY");
    }
    library(format!("open the repository {}", context.sysroot.show(REPOSITORY)), ErrorKind::Io, error)
}

/// The folder itself, without taking the repository's lock.
pub(crate) fn open_folder(context: &BackendContext) -> Result<std::os::fd::OwnedFd> {
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    rustix::fs::openat(context.sysroot.dir(), REPOSITORY, flags, Mode::empty())
        .context_io(|| format!("open {}", context.sysroot.show(REPOSITORY)))
}

/// Whether the roots in this repository will be verified by the kernel when they run.
///
/// # Errors
/// `Unsupported` if that is demanded, and this repository cannot give it.
pub(crate) fn verified<H: FsVerityHashValue>(context: &BackendContext, repo: &Repository<H>) -> Result<bool> {
    match (repo.is_insecure(), context.verity) {
        (false, _) => Ok(true),
        (true, Verity::Optional) => Ok(false),
        (true, Verity::Required) if context.sealing != Sealing::Now => Ok(true),
        (true, Verity::Required) => Err(Error::unsupported("the repository was made without fs-verity")
            .with_hint("install again on a file system with fs-verity, or allow it to be missing with --allow-missing-verity")),
    }
}

/// Makes the repository unless there is one.
pub(crate) fn initialize(context: &BackendContext) -> Result<()> {
    if exists(context) {
        return with_repo!(context, |repo| verified(context, &repo).map(drop));
    }
    let insecure = match context.verity {
        Verity::Optional => true,
        Verity::Required => context.sealing == Sealing::Scratch || !can_verify_now(context)?,
    };
    let config = RepositoryConfig::new(Algorithm::SHA256);
    let config = if insecure { config.set_insecure() } else { config };
    context.sysroot.faults().before("create the composefs repository")?;
    let sysroot = context.sysroot.dir().as_fd();
    let what = || format!("create the repository {}", context.sysroot.show(REPOSITORY));
    let (repo, _) = Repository::<Sha256HashValue>::init_path(sysroot, REPOSITORY, config).context(what)?;
    repo.sync().context(what)
}

/// Whether this kernel can seal files here at once; if not, whether that can be done after the install.
fn can_verify_now(context: &BackendContext) -> Result<bool> {
    if kernel_seals(context)? {
        return Ok(true);
    }
    if context.sealing == Sealing::Offline {
        return can_seal_offline(context).map(|()| false);
    }
    Err(no_verity("fs-verity is not available on the root file system"))
}

fn no_verity(message: &str) -> Error {
    Error::unsupported(message).with_hint(
        "use ext4 made with `mkfs.ext4 -O verity`, or btrfs, on a kernel with CONFIG_FS_VERITY, or give up verification with --allow-missing-verity",
    )
}

/// Tries it on a file without a name, which leaves nothing behind.
fn kernel_seals(context: &BackendContext) -> Result<bool> {
    let what = || format!("try fs-verity in {}", context.sysroot.label().display());
    let flags = OFlags::RDWR | OFlags::TMPFILE | OFlags::CLOEXEC;
    let file = match rustix::fs::openat(context.sysroot.dir(), ".", flags, Mode::RUSR) {
        Ok(file) => file,
        // No unnamed files means none of the file systems that have fs-verity.
        Err(Errno::OPNOTSUPP | Errno::INVAL | Errno::ISDIR) => return Ok(false),
        Err(errno) => return Err(Error::io(what(), errno.into())),
    };
    let mut file = std::fs::File::from(file);
    file.write_all(b"probe").context_io(what)?;
    let reader =
        rustix::fs::open(bootwright_proc_path(&file), OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
            .context_io(what)?;
    drop(file); // fs-verity wants no writer
    Ok(enable_verity_raw::<Sha256HashValue>(&reader).is_ok())
}

fn bootwright_proc_path(file: &std::fs::File) -> String {
    use std::os::fd::AsRawFd;
    format!("/proc/self/fd/{}", file.as_raw_fd())
}

/// Sealing offline knows ext4 only.
fn can_seal_offline(context: &BackendContext) -> Result<()> {
    const EXT4_MAGIC: i64 = 0xEF53;
    let what = || format!("look at the file system of {}", context.sysroot.label().display());
    let statfs = rustix::fs::fstatfs(context.sysroot.dir()).context_io(what)?;
    #[expect(clippy::useless_conversion, reason = "the width of the field depends on the architecture")]
    if i64::try_from(statfs.f_type).ok() != Some(EXT4_MAGIC) {
        return Err(no_verity("this kernel has no fs-verity, and only ext4 can be sealed without it"));
    }
    match device_of(context) {
        Some(device) => seal::check_device(&device),
        None => Ok(()),
    }
}

/// The block device below the sysroot, if the kernel names one.
fn device_of(context: &BackendContext) -> Option<std::path::PathBuf> {
    let stat = rustix::fs::fstat(context.sysroot.dir()).ok()?;
    let (major, minor) = (rustix::fs::major(stat.st_dev), rustix::fs::minor(stat.st_dev));
    let text = std::fs::read_to_string(format!("/sys/dev/block/{major}:{minor}/uevent")).ok()?;
    let name = text.lines().find_map(|line| line.strip_prefix("DEVNAME="))?;
    Some(std::path::Path::new("/dev").join(name))
}
