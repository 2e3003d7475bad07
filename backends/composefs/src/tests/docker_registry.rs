//! Debian's `docker-registry` on the loopback interface, for tests of any backend. Where it is not installed, they fail: `cargo xtask test` installs it.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bootwright_core::model::ImageSummary;

/// skopeo learns from a file below this folder that the registry has no TLS (containers-registries.conf(5)). It is given to a second
/// run of this program, because a process cannot safely change its own environment.
const HOME: &str = "HOME";
const CONFIG: &str = ".config/containers/registries.conf";
const PORT: &str = "BOOTWRIGHT_TEST_REGISTRY_PORT";
const DEADLINE: Duration = Duration::from_secs(30);

/// A registry that runs, and ends with this value.
pub struct Registry {
    child: Child,
    /// Where it listens.
    pub port: u16,
    folder: tempfile::TempDir,
}

impl Registry {
    fn start(port: u16) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let storage = folder.path().join("storage");
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let child = command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn();
        let child =
            child.expect("these tests need the package docker-registry, which `cargo xtask test` installs");
        let started = Self { child, port, folder };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < DEADLINE, "the registry does not answer");
            std::thread::yield_now();
        }
        started
    }

    /// Pushes a layout, and tells what an inspection would.
    pub fn push(&self, image: &ImageSummary, name: &str) -> ImageSummary {
        let to = format!("127.0.0.1:{}/{name}", self.port);
        let copied = Command::new("skopeo")
            .args(["copy", "--quiet", "--dest-tls-verify=false", &image.reference.to_string()])
            .arg(format!("docker://{to}"))
            .status()
            .unwrap();
        assert!(copied.success());
        ImageSummary { reference: format!("docker://{to}").parse().unwrap(), ..image.clone() }
    }

    /// The file that holds a blob.
    pub fn blob(&self, hex: &str) -> PathBuf {
        let blobs = self.folder.path().join("storage/docker/registry/v2/blobs/sha256");
        blobs.join(&hex[..2]).join(hex).join("data")
    }
}

impl Drop for Registry {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Runs `case` with a registry that skopeo may use without TLS. `test` is the name of the test that calls this, with its modules.
pub fn with_registry(test: &str, case: impl AsyncFnOnce(Registry)) {
    if let Ok(port) = std::env::var(PORT) {
        let registry = Registry::start(port.parse().unwrap());
        tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(case(registry));
        return;
    }
    let port = TcpListener::bind(("127.0.0.1", 0)).unwrap().local_addr().unwrap().port();
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join(CONFIG);
    std::fs::create_dir_all(config.parent().unwrap()).unwrap();
    std::fs::write(&config, format!("[[registry]]\nlocation = \"127.0.0.1:{port}\"\ninsecure = true\n"))
        .unwrap();
    rerun(test, folder.path(), port);
}

fn rerun(test: &str, home: &Path, port: u16) {
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", test, "--nocapture"])
        .env(HOME, home)
        .env(PORT, port.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "{test} failed");
}
