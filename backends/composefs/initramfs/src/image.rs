//! The EROFS image that the command line names: found, checked against its digest, and mounted with its data.

use std::os::fd::{AsFd, OwnedFd};

use composefs_ioctls::fsverity::{MeasureVerityError, fs_ioc_measure_verity};
use rustix::fs::OFlags;
use rustix::io::pread;

use crate::cmdline::{Algorithm, RootArgument};
use crate::error::{Doing, Error, Result};
use crate::layout::Layout;
use crate::mount;
use crate::scratch::Scratch;

/// Mounts the image of `root` from the repository on `disk`. The result is attached in `scratch`.
pub fn mount(disk: &OwnedFd, root: &RootArgument, scratch: &Scratch) -> Result<OwnedFd> {
    let layout = Layout::new(root);
    // NONBLOCK: a planted FIFO must not hold up the boot.
    let image = mount::open_inside(disk, &layout.image, OFlags::RDONLY | OFlags::NONBLOCK)
        .doing(format_args!("open the image /{}", layout.image))?;
    check(&image, root)?;
    read_all(&image).doing(format_args!("read the image {}", root.digest))?;
    let objects =
        mount::open_folder(disk, &layout.objects).doing(format_args!("open /{}", layout.objects))?;
    let tree = mount::erofs(&image)
        .and_then(|erofs| scratch.attach(erofs, "image"))
        .doing(format_args!("mount the EROFS image {}", root.digest))?;
    mount::composefs(&root.digest, tree.as_fd(), objects.as_fd(), root.verity_required)
        .and_then(|overlay| scratch.attach(overlay, "root"))
        .doing("mount the overlay of image and objects")
}

/// Checks that fs-verity enforces the digest on the open `image`, if it has to.
fn check(image: &OwnedFd, root: &RootArgument) -> Result<()> {
    match measure(image, root.algorithm) {
        Ok(found) if found == root.digest => Ok(()),
        Ok(found) => Err(Error::new(format!("the image {} has the fs-verity digest {found}", root.digest))),
        Err(MeasureVerityError::VerityMissing | MeasureVerityError::FilesystemNotSupported)
            if !root.verity_required =>
        {
            Ok(())
        }
        Err(cause) => Err(cause).doing(format_args!("verify the image {}", root.digest)),
    }
}

/// Reads the whole image, a few megabytes. fs-verity verifies what is read: without this, a damaged block would show only when a
/// running system looks up a file.
fn read_all(image: &OwnedFd) -> rustix::io::Result<()> {
    let mut buffer = vec![0; 1 << 20];
    let mut at = 0;
    loop {
        match pread(image, &mut buffer, at)? {
            0 => return Ok(()),
            read => at += read as u64,
        }
    }
}

fn measure(image: &OwnedFd, algorithm: Algorithm) -> Result<String, MeasureVerityError> {
    Ok(match algorithm {
        Algorithm::Sha256 => hex(&fs_ioc_measure_verity::<32>(image, 1)?),
        Algorithm::Sha512 => hex(&fs_ioc_measure_verity::<64>(image, 2)?),
    })
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|b| [b >> 4, b & 15]).filter_map(|d| char::from_digit(d.into(), 16)).collect()
}

#[cfg(test)]
mod tests {
    #[test]
    fn digests_are_written_in_lower_case() {
        assert_eq!(super::hex(&[0x00, 0x0f, 0xa5, 0xff]), "000fa5ff");
    }
}
