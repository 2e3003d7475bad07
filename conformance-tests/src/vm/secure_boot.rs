//! Secure Boot with keys of one's own: made by openssl, enrolled by writing them into a copy of the firmware's variable store.
//!
//! The store's layout is that of EDK II (`MdeModulePkg/Include/Guid/VariableFormat.h`, authenticated variables), the lists of
//! certificates are those of the UEFI specification (section "Signature Database").

use std::{
    fs,
    path::{Path, PathBuf},
};

use anyhow::{Context as _, Result, ensure};

use super::firmware::Firmware;
use crate::host;

/// Arguments of QEMU that keep the guest's kernel away from the variable store, as firmware with Secure Boot demands.
pub const QEMU_ARGUMENTS: [&str; 6] = [
    "-machine",
    "smm=on",
    "-global",
    "driver=cfi.pflash01,property=secure,value=on",
    "-global",
    "ICH9-LPC.disable_s3=1",
];

/// Firmware builds that can do Secure Boot, each with an empty variable store.
const KNOWN: [(&str, &str); 3] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.secboot.fd", "/usr/share/OVMF/OVMF_VARS_4M.fd"),
    ("/usr/share/edk2/x64/OVMF_CODE.secboot.4m.fd", "/usr/share/edk2/x64/OVMF_VARS.4m.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.fd"),
];

/// The same with a store in which Microsoft's keys are enrolled.
const ENROLLED: [(&str, &str); 2] = [
    ("/usr/share/OVMF/OVMF_CODE_4M.ms.fd", "/usr/share/OVMF/OVMF_VARS_4M.ms.fd"),
    ("/usr/share/edk2/ovmf/OVMF_CODE.secboot.fd", "/usr/share/edk2/ovmf/OVMF_VARS.secboot.fd"),
];

const GLOBAL: [u8; 16] = guid(0x8be4_df61, 0x93ca, 0x11d2, *b"\xaa\x0d\x00\xe0\x98\x03\x2b\x8c");
const DATABASE: [u8; 16] = guid(0xd719_b2cb, 0x3d3a, 0x4596, *b"\xa3\xbc\xda\xd0\x0e\x67\x65\x6f");
const ENABLE: [u8; 16] = guid(0xf0a3_0bc7, 0xaf08, 0x4556, *b"\x99\xc4\x00\x10\x09\xc9\x3a\x44");
const X509: [u8; 16] = guid(0xa5c0_59a1, 0x94e4, 0x4aa7, *b"\x87\xb5\xab\x15\x5c\x2b\xf0\x72");
/// Whoever put a certificate into a list; any will do.
const OWNER: [u8; 16] = *b"bootwright-tests";
/// In the store's header: that its variables are authenticated.
const AUTHENTICATED: [u8; 16] = guid(0xaaf3_2c78, 0x947b, 0x439a, *b"\xa1\x80\x2e\x14\x4e\xc3\x77\x92");

const STORE_HEADER: usize = 28;
const VARIABLE_HEADER: usize = 60;
/// Kept, for boot services only.
const FOR_BOOT: u32 = 3;
/// Kept, for boot and the running system, changed only by who signs the change.
const SIGNED: u32 = 0x27;

const fn guid(a: u32, b: u16, c: u16, d: [u8; 8]) -> [u8; 16] {
    let (a, b, c) = (a.to_le_bytes(), b.to_le_bytes(), c.to_le_bytes());
    [a[0], a[1], a[2], a[3], b[0], b[1], c[0], c[1], d[0], d[1], d[2], d[3], d[4], d[5], d[6], d[7]]
}

/// A key with its certificate, which it signed itself.
#[derive(Debug, Clone)]
pub struct SigningKey {
    key: PathBuf,
    certificate: PathBuf,
}

impl SigningKey {
    /// Makes a new key in `folder`.
    ///
    /// # Errors
    /// When openssl does not succeed.
    pub fn make(folder: &Path, name: &str) -> Result<Self> {
        let at = |suffix: &str| folder.join(format!("{name}.{suffix}"));
        let made = Self { key: at("key"), certificate: at("crt") };
        let mut command = host::command("openssl");
        command.args(["req", "-new", "-x509", "-newkey", "rsa:2048", "-nodes", "-sha256", "-days", "3650"]);
        command.args(["-subj", &format!("/CN={name}/"), "-keyout"]).arg(&made.key);
        host::run(command.arg("-out").arg(&made.certificate))?;
        Ok(made)
    }

    /// Signs an EFI program, in addition to signatures that it has.
    ///
    /// # Errors
    /// When sbsign does not succeed.
    pub fn sign(&self, program: &[u8]) -> Result<Vec<u8>> {
        let folder = tempfile::tempdir()?;
        let (from, to) = (folder.path().join("from"), folder.path().join("to"));
        fs::write(&from, program)?;
        let mut command = host::command("sbsign");
        command.arg("--key").arg(&self.key).arg("--cert").arg(&self.certificate);
        host::run(command.arg("--output").arg(&to).arg(&from))?;
        Ok(fs::read(&to)?)
    }

    /// Whether an EFI program has a signature by this key that holds.
    ///
    /// # Errors
    /// When sbverify cannot be started.
    pub fn verifies(&self, program: &[u8]) -> Result<bool> {
        let file = tempfile::NamedTempFile::new()?;
        fs::write(file.path(), program)?;
        let mut command = host::command("sbverify");
        let output = command.arg("--cert").arg(&self.certificate).arg(file.path()).output();
        Ok(output.context("start sbverify")?.status.success())
    }

    fn der(&self) -> Result<Vec<u8>> {
        let mut command = host::command("openssl");
        host::run(command.args(["x509", "-outform", "DER", "-in"]).arg(&self.certificate))
    }

    /// Firmware on which this key is the platform's, and the only one by which programs may be signed. Its variable store is made in
    /// `folder`.
    ///
    /// # Errors
    /// When there is no firmware that can do Secure Boot, or its variable store is not as expected.
    pub fn enroll(&self, folder: &Path) -> Result<Firmware> {
        let known = KNOWN.iter().find(|(code, vars)| Path::new(code).exists() && Path::new(vars).exists());
        let (code, template) = known.context("no firmware with Secure Boot; install ovmf or edk2-ovmf")?;
        let mut store = Store::open(fs::read(template)?)?;
        let list = certificate_list(&self.der()?);
        store.add("PK", &GLOBAL, SIGNED, &list)?;
        store.add("KEK", &GLOBAL, SIGNED, &list)?;
        store.add("db", &DATABASE, SIGNED, &list)?;
        store.add("SecureBootEnable", &ENABLE, FOR_BOOT, &[1])?;
        let vars = folder.join("secure-boot-vars.fd");
        fs::write(&vars, store.bytes)?;
        Ok(Firmware { code: code.into(), vars })
    }
}

/// An EFI program without the signatures that it has.
///
/// # Errors
/// When sbattach cannot be started, or the file cannot be read back.
pub fn unsigned(program: &[u8]) -> Result<Vec<u8>> {
    let file = tempfile::NamedTempFile::new()?;
    fs::write(file.path(), program)?;
    // It fails where there is no signature.
    drop(host::command("sbattach").arg("--remove").arg(file.path()).output().context("start sbattach")?);
    Ok(fs::read(file.path())?)
}

/// Firmware with the keys of real machines, by which the shim of a distribution is signed.
///
/// # Errors
/// When the distribution has none.
pub fn microsoft_s_keys() -> Result<Firmware> {
    let known = ENROLLED.iter().find(|(code, vars)| Path::new(code).exists() && Path::new(vars).exists());
    let (code, vars) = known.context("no firmware with Microsoft's keys; install ovmf or edk2-ovmf")?;
    Ok(Firmware { code: code.into(), vars: vars.into() })
}

/// `EFI_SIGNATURE_LIST` with one certificate.
fn certificate_list(der: &[u8]) -> Vec<u8> {
    let entry = OWNER.len() + der.len();
    let sizes = [X509.len() + 12 + entry, 0, entry];
    let sizes = sizes.into_iter().flat_map(|size| u32::try_from(size).unwrap_or(u32::MAX).to_le_bytes());
    X509.into_iter().chain(sizes).chain(OWNER).chain(der.iter().copied()).collect()
}

/// A variable store in a flash image.
struct Store {
    bytes: Vec<u8>,
    /// Where the next variable goes.
    end: usize,
    /// Where the store ends.
    limit: usize,
}

impl Store {
    fn open(bytes: Vec<u8>) -> Result<Self> {
        let number = |at: usize, len: usize| -> Option<usize> {
            let mut raw = [0; 4];
            raw.get_mut(..len)?.copy_from_slice(bytes.get(at..at + len)?);
            usize::try_from(u32::from_le_bytes(raw)).ok()
        };
        // `HeaderLength` of the firmware volume; the store begins behind it.
        let header = number(48, 2).context("a truncated variable store")?;
        ensure!(
            bytes.get(header..header + 16) == Some(&AUTHENTICATED),
            "not a store of authenticated variables"
        );
        let size = number(header + 16, 4).context("a truncated variable store")?;
        let mut end = header + STORE_HEADER;
        while number(end, 2) == Some(0x55aa) {
            let lengths = number(end + 36, 4).zip(number(end + 40, 4)).context("a truncated variable")?;
            end = aligned(end + VARIABLE_HEADER + lengths.0 + lengths.1);
        }
        Ok(Self { limit: header + size, end, bytes })
    }

    fn add(&mut self, name: &str, vendor: &[u8; 16], attributes: u32, data: &[u8]) -> Result<()> {
        let name: Vec<u8> = name.encode_utf16().chain([0]).flat_map(u16::to_le_bytes).collect();
        let mut variable = vec![0xaa, 0x55, 0x3f, 0];
        variable.extend(attributes.to_le_bytes());
        variable.extend([0; 8]);
        variable.extend(if attributes == SIGNED { TIME } else { [0; 16] });
        variable.extend([0; 4]);
        variable.extend(u32::try_from(name.len())?.to_le_bytes());
        variable.extend(u32::try_from(data.len())?.to_le_bytes());
        variable.extend(vendor);
        variable.extend(name);
        variable.extend(data);
        let place = self.bytes.get_mut(self.end..self.end + variable.len());
        let place = place
            .filter(|_| self.end + variable.len() <= self.limit)
            .context("the variable store is full")?;
        place.copy_from_slice(&variable);
        self.end = aligned(self.end + variable.len());
        Ok(())
    }
}

/// `EFI_TIME` of the first of January 2025: later changes of a variable have to be newer.
const TIME: [u8; 16] = [0xe9, 0x07, 1, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];

fn aligned(at: usize) -> usize {
    at.next_multiple_of(4)
}
