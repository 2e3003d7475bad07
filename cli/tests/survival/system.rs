//! An installed system on an image file, mounted, that is not running: commands reach it by `--sysroot`.

use std::{
    path::{Path, PathBuf},
    process::{Child, Command, Output, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::support::{TinyImage, complaint, output};

/// How long anything here may take.
pub const DEADLINE: Duration = Duration::from_secs(120);

/// Names of a storage backend and a bootloader.
pub type Pair = (&'static str, &'static str);

/// The system, and the home folder of the programs that work on it.
pub struct System {
    at: tempfile::TempDir,
    disk: tempfile::NamedTempFile,
    /// What was mounted when nothing ran.
    mounts: String,
    pub home: tempfile::TempDir,
}

impl System {
    /// Installs an image with a storage backend and a bootloader; upgrades will follow `origin`.
    pub fn install(image: &TinyImage, origin: &str, (backend, loader): Pair) -> Self {
        bootwright::machine::namespace::enter().expect("these tests need root");
        let disk = tempfile::NamedTempFile::new().unwrap();
        disk.as_file().set_len(700 << 20).unwrap();
        output("mkfs.ext4", &["-q", "-F", disk.path().to_str().unwrap()]);
        let (at, home) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let mut system = Self { at, disk, mounts: String::new(), home };
        output("mount", &["-o", "loop", system.disk.path().to_str().unwrap(), &system.path("")]);
        system.mounts = mounts();
        std::fs::create_dir_all(system.path("boot/efi")).unwrap();
        let (root, esp, reference) = (system.path(""), system.path("boot/efi"), image.reference());
        let mut command = system.program();
        command.args([
            "install",
            "to-filesystem",
            "--image",
            &reference,
            "--target-imgref",
            origin,
            "--esp",
            &esp,
        ]);
        command.args(["--backend", backend, "--boot", loader, "--allow-missing-verity"]);
        // Whatever has started the machine that runs the tests.
        command.args(["--generic-image", &root]);
        let installed = command.output().unwrap();
        assert!(installed.status.success(), "{}", complaint(&installed));
        system
    }

    /// A path on its root file system.
    pub fn path(&self, below: &str) -> String {
        self.at.path().join(below).to_str().unwrap().to_owned()
    }

    fn program(&self) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_bootwright"));
        command.env("HOME", self.home.path());
        command
    }

    /// A command on this system.
    pub fn command(&self, args: &[&str]) -> Command {
        let mut command = self.program();
        command.args(["--sysroot", &self.path(""), "--system-esp", &self.path("boot/efi")]).args(args);
        command
    }

    /// Runs it to its end.
    pub fn run(&self, args: &[&str]) -> Output {
        self.command(args).output().unwrap()
    }

    /// Runs it and demands success; returns what it printed.
    pub fn must(&self, args: &[&str]) -> String {
        let output = self.run(args);
        assert!(output.status.success(), "{args:?}: {}", complaint(&output));
        String::from_utf8(output.stdout).unwrap()
    }

    /// Starts it, with its standard error in a file.
    pub fn start(&self, args: &[&str]) -> Running {
        let errors = tempfile::NamedTempFile::new().unwrap();
        let mut command = self.command(args);
        command.stdout(Stdio::piped()).stderr(errors.reopen().unwrap());
        Running { child: Some(command.spawn().unwrap()), errors }
    }

    /// `status --json`, below `status`.
    pub fn status(&self) -> Value {
        let mut host: Value = serde_json::from_str(&self.must(&["status", "--json"])).unwrap();
        host["status"].take()
    }

    /// Nothing of a command may be left when it is gone.
    pub fn assert_released(&self) {
        assert_eq!(mounts(), self.mounts, "a mount is left");
        let loops = output("losetup", &["-n", "-O", "BACK-FILE", "-j", self.disk.path().to_str().unwrap()]);
        assert_eq!(loops.lines().count(), 1, "only the test's own loop device: {loops}");
    }

    /// Every object and boot file is whole.
    pub fn assert_clean(&self) {
        let said = self.must(&["fsck"]);
        assert!(said.ends_with("0 problems\n"), "{said}");
    }
}

fn mounts() -> String {
    std::fs::read_to_string("/proc/thread-self/mountinfo").unwrap()
}

impl Drop for System {
    fn drop(&mut self) {
        output("umount", &[self.at.path().to_str().unwrap()]);
    }
}

/// A command that runs; killed if the test ends before it.
pub struct Running {
    child: Option<Child>,
    errors: tempfile::NamedTempFile,
}

impl Running {
    /// Waits until it has said this on its standard error.
    pub fn wait_until_it_says(&mut self, text: &str) {
        let start = Instant::now();
        while !self.said().contains(text) {
            let ended = self.child.as_mut().unwrap().try_wait().unwrap();
            assert!(ended.is_none() && start.elapsed() < DEADLINE, "never said {text:?}: {}", self.said());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// What it said on its standard error so far.
    pub fn said(&self) -> String {
        std::fs::read_to_string(self.errors.path()).unwrap()
    }

    /// Kills it after this time, if it still runs then. Returns whether it did.
    pub fn kill_after(mut self, time: Duration) -> bool {
        let mut child = self.child.take().unwrap();
        std::thread::sleep(time);
        let running = child.try_wait().unwrap().is_none();
        child.kill().unwrap();
        child.wait().unwrap();
        running
    }

    /// Waits for its end and demands success.
    pub fn finish(mut self) -> String {
        let output = self.child.take().unwrap().wait_with_output().unwrap();
        assert!(output.status.success(), "{}", self.said());
        String::from_utf8(output.stdout).unwrap()
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        if let Some(child) = &mut self.child {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// Every file below a folder, by path.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() && !path.is_symlink() { found.extend(files(&path)) } else { found.push(path) }
    }
    found.sort();
    found
}
