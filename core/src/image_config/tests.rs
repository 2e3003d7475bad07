//! Tables of texts, and loaders over an image in memory.

use std::collections::BTreeMap;

use async_trait::async_trait;
use proptest::prelude::*;

use super::{BlockSetup, InstallDefaults, InstallFile, OsRelease, drop_in, kargs};
use crate::{
    ErrorKind, Result,
    tree::{Reader, TreeReader},
};

/// An image as path and text.
#[derive(Debug)]
struct Image(BTreeMap<&'static str, &'static str>);

#[async_trait]
impl TreeReader for Image {
    async fn open(&self, path: &str) -> Result<Option<Reader>> {
        Ok(self.0.get(path).map(|text| Box::new(text.as_bytes()) as Reader))
    }

    async fn list(&self, path: &str) -> Result<Vec<String>> {
        let names = self.0.keys().filter_map(|file| file.strip_prefix(path)?.strip_prefix('/'));
        Ok(names.map(str::to_owned).collect())
    }
}

fn image<const N: usize>(files: [(&'static str, &'static str); N]) -> Image {
    Image(files.into())
}

#[track_caller]
fn refused<T: std::fmt::Debug>(result: Result<T>, words: &str) {
    let error = result.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput, "{error}");
    assert!(error.to_string().contains(words), "{error}");
}

/// spec: BW-501
#[tokio::test]
async fn kernel_arguments_come_in_the_order_of_file_names() {
    let image = image([
        ("usr/lib/bootc/kargs.d/20-b.toml", "kargs = ['quiet', 'b=\"x y\"']"),
        ("usr/lib/bootc/kargs.d/10-a.toml", "kargs = ['console=ttyS0,115200n8 nosmt']"),
        ("usr/lib/bootc/kargs.d/15-arm.toml", "kargs = ['arm']\nmatch-architectures = ['aarch64']"),
        ("usr/lib/bootc/kargs.d/README", "kargs = ['no']"),
    ]);
    let line = kargs::load(&image, "amd64").await.unwrap().to_string();
    assert_eq!(line, "console=ttyS0,115200n8 nosmt quiet b=\"x y\"");
    assert!(kargs::load(&image, "arm64").await.unwrap().to_string().contains(" arm "));
}

#[tokio::test]
async fn an_image_without_any_of_the_files_has_defaults() {
    let empty = image([]);
    assert!(kargs::load(&empty, "amd64").await.unwrap().is_empty());
    assert_eq!(InstallDefaults::load(&empty, "amd64").await.unwrap(), InstallDefaults::default());
    let os = OsRelease::load(&empty).await.unwrap();
    assert_eq!((os.id(), os.pretty_name(), os.version()), ("linux", "Linux", None));
}

#[test]
fn architectures_match_by_either_name() {
    for (listed, wanted, expected) in [
        ("['x86_64']", "x86_64", "a"),
        ("['x86_64', 'aarch64']", "amd64", "a"),
        ("['amd64']", "x86_64", "a"),
        ("['aarch64']", "amd64", ""),
        ("[]", "amd64", ""),
    ] {
        let text = format!("kargs = ['a']\nmatch-architectures = {listed}");
        assert_eq!(kargs::parse("f", &text, wanted).unwrap().to_string(), expected, "{listed} on {wanted}");
    }
}

/// spec: BW-502
#[test]
fn a_malformed_kargs_file_is_named_with_its_line() {
    refused(kargs::parse("kargs.d/1.toml", "# x\nkargs = [", "amd64"), "kargs.d/1.toml, line 2");
    refused(kargs::parse("1.toml", "kargs = 'quiet'", "amd64"), "1.toml, line 1");
    refused(kargs::parse("1.toml", "\nkargs = [\n'a',\n3]", "amd64"), "1.toml, line 4");
    refused(kargs::parse("1.toml", "args = ['quiet']", "amd64"), "kargs");
    refused(kargs::parse("1.toml", "kargs = ['a=\"b']", "amd64"), "1.toml: kargs");
}

/// spec: BW-502
#[test]
fn unknown_keys_are_found_wherever_they_stand() {
    let known = ["install.kargs", "install.filesystem.root.type"];
    let text = "x = 1\n[install]\nkargs = []\n[install.filesystem.root]\ntype = 'a'\nsize = 3\n[install.ostree]\nz = 1";
    assert_eq!(drop_in::unknown_keys(text, &known), ["install.filesystem.root.size", "install.ostree", "x"]);
    assert!(kargs::parse("f", "kargs = ['a']\nfuture = true", "amd64").is_ok());
}

/// spec: BW-501
#[tokio::test]
async fn later_install_files_win_and_arguments_add_up() {
    let image = image([
        (
            "usr/lib/bootc/install/00-base.toml",
            "[install]\nroot-fs-type = 'xfs'\nkargs = ['a']\nblock = ['tpm2-luks', 'direct']\nstateroot = 'one'",
        ),
        (
            "usr/lib/bootc/install/10-own.toml",
            "[install.filesystem.root]\ntype = 'btrfs'\n[install]\nkargs = ['b']",
        ),
        ("usr/lib/bootc/install/20-late.toml", "[install]\nroot-fs-type = 'ext4'\nstateroot = 'two'"),
        (
            "usr/lib/bootc/install/30-arm.toml",
            "[install]\nmatch_architectures = ['aarch64']\nkargs = ['arm']",
        ),
        ("usr/lib/bootc/install/40-empty.toml", ""),
    ]);
    let defaults = InstallDefaults::load(&image, "x86_64").await.unwrap();
    assert_eq!(defaults.root_filesystem(), Some("btrfs"), "the newer key wins over a later file");
    assert_eq!(defaults.kargs.to_string(), "a b");
    assert_eq!(
        (defaults.default_block(), defaults.stateroot.unwrap().as_str()),
        (BlockSetup::Tpm2Luks, "two")
    );
}

#[test]
fn every_install_key_is_read() {
    let text = "[install]\nroot-mount-spec = 'LABEL=r'\nboot-mount-spec = ''\nbootloader = 'systemd'\n\
                enforce-container-sigpolicy = true\nroot-fs-type = 'ext4'";
    let defaults = InstallFile::parse("f", text).unwrap().defaults;
    assert_eq!(defaults.root_filesystem(), Some("ext4"));
    assert_eq!(defaults.root_mount_spec.as_deref(), Some("LABEL=r"));
    assert_eq!(defaults.boot_mount_spec.as_deref(), Some(""));
    assert_eq!(defaults.bootloader.as_deref(), Some("systemd"));
    assert_eq!(defaults.enforce_signature_policy, Some(true));
    assert_eq!(defaults.default_block(), BlockSetup::Direct);
}

/// spec: BW-502
#[test]
fn a_malformed_install_file_is_named() {
    for (text, words) in [
        ("[install]\nblock = ['raid']", "f.toml, line 2"),
        ("[install]\nblock = []", "block"),
        ("[install.filesystem.root]\ntype = 'ext4; reboot'", "not a file system type"),
        ("[install]\n\nstateroot = '../x'", "f.toml, line 3"),
        ("[install]\nkargs = ['']\nkargs = []", "f.toml, line 3"),
        ("install = 1", "f.toml, line 1"),
    ] {
        refused(InstallFile::parse("f.toml", text), words);
    }
}

#[test]
fn os_release_values_are_read_as_a_shell_would() {
    for (line, expected) in [
        ("A=debian", "debian"),
        ("A=\"Debian GNU/Linux 13 (trixie)\"", "Debian GNU/Linux 13 (trixie)"),
        ("A='single $quoted \\n'", "single $quoted \\n"),
        (r#"A="a \"b\" \$c \\ \` \x""#, r#"a "b" $c \ ` \x"#),
        (r"A=a\ b", "a b"),
        ("A=", ""),
        ("  A=x  ", "x"),
        ("A=a=b#c", "a=b#c"),
        ("A=1\nA=2", "2"),
    ] {
        let os = OsRelease::parse("f", line).unwrap();
        assert_eq!(os.get("A").unwrap_or_default(), expected, "{line}");
    }
}

#[test]
fn a_malformed_os_release_is_named_with_its_line() {
    for (text, words) in [
        ("# c\n\nhello", "f, line 3: neither"),
        ("A=\"x", "does not end"),
        ("A='x", "does not end"),
        ("A=x\\", "backslash"),
        ("A=b c", "white space"),
        ("1A=b", "not a name"),
        ("=b", "not a name"),
        ("A-B=c", "not a name"),
    ] {
        refused(OsRelease::parse("f", text), words);
    }
}

#[tokio::test]
async fn the_image_version_is_more_exact_than_the_release() {
    let text =
        "ID=debian\nPRETTY_NAME=\"Debian 13\"\nVERSION_ID=13\nBUILD_ID=7\nIMAGE_ID=demo\nIMAGE_VERSION=2";
    let os = OsRelease::load(&image([("usr/lib/os-release", text), ("etc/hostname", "x")])).await.unwrap();
    assert_eq!((os.id(), os.pretty_name()), ("debian", "Debian 13"));
    assert_eq!((os.version_id(), os.image_id(), os.image_version()), (Some("13"), Some("demo"), Some("2")));
    assert_eq!(os.version(), Some("2"));
    assert_eq!(OsRelease::parse("f", "VERSION_ID=13\nBUILD_ID=7").unwrap().version(), Some("13"));
    assert_eq!(OsRelease::parse("f", "NAME=Arch\nBUILD_ID=rolling").unwrap().version(), Some("rolling"));
}

#[tokio::test]
async fn etc_comes_before_the_vendors_os_release() {
    let both = image([("etc/os-release", "ID=mine"), ("usr/lib/os-release", "ID=theirs")]);
    assert_eq!(OsRelease::load(&both).await.unwrap().id(), "mine");
}

proptest! {
    #[test]
    fn any_text_parses_without_panic(text in "(.|\n){0,200}") {
        let _ = kargs::parse("f", &text, "amd64");
        let _ = InstallFile::parse("f", &text);
        let _ = OsRelease::parse("f", &text);
        let _ = drop_in::unknown_keys(&text, &[]);
    }

    #[test]
    fn text_that_looks_like_configuration_parses_without_panic(
        text in r#"(kargs|\[install\]|\[install\.filesystem\.root\]|type|block|=|\[|\]|"|'|\\|,|\n| |é|a|x86_64|#){0,30}"#,
    ) {
        let _ = kargs::parse("f", &text, "amd64");
        let _ = InstallFile::parse("f", &text);
        let _ = OsRelease::parse("f", &text);
    }

    #[test]
    fn what_a_shell_would_be_given_quoted_reads_back(value in "[^\n\r\0]{0,50}") {
        let mut quoted = String::new();
        for c in value.chars() {
            if matches!(c, '"' | '\\' | '$' | '`') {
                quoted.push('\\');
            }
            quoted.push(c);
        }
        let os = OsRelease::parse("f", &format!("A=\"{quoted}\"")).unwrap();
        prop_assert_eq!(os.get("A").unwrap_or_default(), value);
    }
}
