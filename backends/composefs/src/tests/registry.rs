//! Fetching from a registry: Debian's `docker-registry` on the loopback interface. Needs root: an image has files of several owners.
//!
//! Where the program is not installed the cases say so and pass; the set-up installs it.

use std::{
    net::{TcpListener, TcpStream},
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use bootwright_core::{error::ErrorKind, model::ImageSummary};

use super::{
    image::{Entry, Image, big},
    support::{Host, Recorder},
};

/// skopeo learns from a file below this folder that the registry has no TLS (containers-registries.conf(5)). It is given to a second
/// run of this program, because a process cannot safely change its own environment.
const HOME: &str = "HOME";
const CONFIG: &str = ".config/containers/registries.conf";
const PORT: &str = "BOOTWRIGHT_TEST_REGISTRY_PORT";
const DEADLINE: Duration = Duration::from_secs(30);

struct Registry {
    child: Child,
    port: u16,
    folder: tempfile::TempDir,
}

impl Registry {
    /// Starts one, or returns `None` if the program is not there.
    fn start(port: u16) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let storage = folder.path().join("storage");
        let config = folder.path().join("config.yml");
        let text = format!(
            "version: 0.1\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            storage.display()
        );
        std::fs::write(&config, text).unwrap();
        let mut command = Command::new("docker-registry");
        let child =
            command.arg("serve").arg(&config).stdout(Stdio::null()).stderr(Stdio::null()).spawn().ok()?;
        let started = Self { child, port, folder };
        let begun = Instant::now();
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            assert!(begun.elapsed() < DEADLINE, "the registry does not answer");
            std::thread::yield_now();
        }
        Some(started)
    }

    /// Pushes a layout, and tells what an inspection would.
    fn push(&self, image: &ImageSummary, name: &str) -> ImageSummary {
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
    fn blob(&self, hex: &str) -> PathBuf {
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

/// Runs `case` with a registry that skopeo may use without TLS.
fn with_registry(test: &str, case: impl AsyncFnOnce(Registry)) {
    if let Ok(port) = std::env::var(PORT) {
        let Some(registry) = Registry::start(port.parse().unwrap()) else { return };
        tokio::runtime::Runtime::new().unwrap().block_on(case(registry));
        return;
    }
    if Command::new("docker-registry").arg("--version").output().is_err() {
        eprintln!("docker-registry is not installed: nothing was tested");
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
    let name = format!("tests::registry::{test}");
    let status = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", &name, "--nocapture"])
        .env(HOME, home)
        .env(PORT, port.to_string())
        .status()
        .unwrap();
    assert!(status.success(), "{name} failed");
}

/// spec: BW-303
#[test]
fn an_image_is_fetched_by_digest_and_only_once() {
    with_registry("an_image_is_fetched_by_digest_and_only_once", async |registry| {
        let host = Host::initialized().await;
        let first = registry.push(&host.image("v1", &Image::bootable("1")), "os:latest");
        // The tag moves on, but what was inspected is what is fetched.
        registry.push(&host.image("v2", &Image::bootable("2")), "os:latest");
        let deployment = host.deploy(&first, None).await;
        assert_eq!(host.read(&format!("{}/app/default.conf", Host::etc(&deployment.id))), "version=1\n");
        let again = Recorder::default();
        host.backend().fetch(&first, &again).await.unwrap();
        assert_eq!(again.transferred(), 0);
    });
}

#[test]
fn a_fetch_from_a_registry_and_from_a_layout_give_the_same_root() {
    with_registry("a_fetch_from_a_registry_and_from_a_layout_give_the_same_root", async |registry| {
        let (here, there) = (Host::initialized().await, Host::initialized().await);
        let local = here.image("v1", &Image::bootable("1"));
        let remote = registry.push(&local, "os:1");
        assert_eq!(here.deploy(&local, None).await.id, there.deploy(&remote, None).await.id);
    });
}

/// spec: BW-303
#[test]
fn what_arrived_before_a_transfer_stopped_is_kept() {
    with_registry("what_arrived_before_a_transfer_stopped_is_kept", async |registry| {
        let host = Host::initialized().await;
        let image = Image::bootable("1").layer(vec![Entry::File("usr/more", big("more"))]);
        let image = registry.push(&host.image("v1", &image), "os:1");
        let blob = registry.blob(image.layers[2].digest.hex());
        let whole = std::fs::read(&blob).unwrap();
        std::fs::write(&blob, &whole[..whole.len() / 2]).unwrap();
        let error = host.fetch(&image).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Interrupted && error.hint().is_some(), "{error:?}");
        assert!(host.backend().deployments().await.unwrap().is_empty());

        std::fs::write(&blob, &whole).unwrap();
        let before = host.backend().estimate(&image).await.unwrap();
        assert!(before.layers_missing < 3, "{before:?}");
        host.deploy(&image, None).await;
    });
}

/// spec: BW-301
#[test]
fn a_damaged_layer_in_a_registry_is_an_integrity_error() {
    with_registry("a_damaged_layer_in_a_registry_is_an_integrity_error", async |registry| {
        let host = Host::initialized().await;
        let image = registry.push(&host.image("v1", &Image::bootable("1")), "os:1");
        let blob = registry.blob(image.layers[0].digest.hex());
        let mut bytes = std::fs::read(&blob).unwrap();
        let middle = bytes.len() / 2;
        bytes[middle] ^= 0x40;
        std::fs::write(&blob, bytes).unwrap();
        let error = host.fetch(&image).await.unwrap_err();
        assert!(error.kind() == ErrorKind::Integrity && error.hint().is_some(), "{error:?}");
        assert!(host.backend().deployments().await.unwrap().is_empty());
    });
}

/// spec: BW-507
#[test]
fn a_registry_that_does_not_answer_or_lacks_the_image_is_told_apart() {
    with_registry("a_registry_that_does_not_answer_or_lacks_the_image_is_told_apart", async |registry| {
        let host = Host::initialized().await;
        let image = host.image("v1", &Image::bootable("1"));
        let port = registry.port;
        let named = |name: &str| ImageSummary {
            reference: format!("docker://127.0.0.1:{port}/{name}").parse().unwrap(),
            ..image.clone()
        };
        assert_eq!(host.fetch(&named("nothing:1")).await.unwrap_err().kind(), ErrorKind::NotFound);
        drop(registry);
        assert_eq!(host.fetch(&named("os:1")).await.unwrap_err().kind(), ErrorKind::Interrupted);
    });
}

#[tokio::test]
async fn an_image_is_read_from_the_local_store_of_podman() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image::bootable("1"));
    let folder = tempfile::tempdir().unwrap();
    let (graph, run) = (folder.path().join("graph"), folder.path().join("run"));
    // The driver that needs nothing from the kernel, in a store of its own (containers-storage(5)).
    let name = format!("containers-storage:[vfs@{}+{}]localhost/os:1", graph.display(), run.display());
    let copied = Command::new("skopeo")
        .args(["copy", "--quiet", &image.reference.to_string(), &name])
        .output()
        .unwrap();
    assert!(copied.status.success(), "{}", String::from_utf8_lossy(&copied.stderr));
    let raw = Command::new("skopeo").args(["inspect", "--raw", &name]).output().unwrap();
    assert!(raw.status.success());
    let manifest_digest = bootwright_core::model::Digest::of(&raw.stdout);
    let stored = ImageSummary { reference: name.parse().unwrap(), manifest_digest, ..image.clone() };
    let deployment = host.deploy(&stored, None).await;
    assert_eq!(host.read(&format!("{}/app/default.conf", Host::etc(&deployment.id))), "version=1\n");
    let report = host.backend().verify(&Recorder::default()).await.unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
}
