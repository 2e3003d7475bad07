//! Finding damage. Needs root: an image has files of several owners.

use bootwright_core::fs::Faults;

use super::{
    image::{Entry, Image, big},
    support::{Host, Recorder},
};

fn objects(host: &Host) -> Vec<std::path::PathBuf> {
    let mut found: Vec<_> =
        super::support::snapshot(&host.path("composefs/objects")).into_iter().map(|(p, _)| p).collect();
    found.sort();
    found
}

/// spec: BW-311
#[tokio::test]
async fn a_changed_byte_is_found_and_traced_to_the_deployment() {
    let host = Host::initialized().await;
    let deployment = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    let kernel =
        objects(&host).into_iter().find(|path| std::fs::read(path).unwrap() == big("kernel ")).unwrap();
    let mut bytes = big("kernel ");
    bytes[100] ^= 1;
    std::fs::remove_file(&kernel).unwrap();
    std::fs::write(&kernel, bytes).unwrap();
    let report = host.backend().verify(&Recorder::default()).await.unwrap();
    assert_eq!(report.problems.len(), 1, "{report:?}");
    let problem = &report.problems[0];
    assert!(host.path(&problem.path) == kernel && problem.deployments == [deployment.id], "{problem:?}");
}

/// spec: BW-311
#[tokio::test]
async fn a_missing_object_is_found() {
    let host = Host::initialized().await;
    let deployment = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    let kernel =
        objects(&host).into_iter().find(|path| std::fs::read(path).unwrap() == big("kernel ")).unwrap();
    std::fs::remove_file(&kernel).unwrap();
    let report = host.backend().verify(&Recorder::default()).await.unwrap();
    assert!(
        report.problems.iter().any(|problem| problem.deployments == [deployment.id.clone()]),
        "{report:?}"
    );
}

/// spec: BW-311
#[tokio::test]
async fn a_missing_root_image_is_found() {
    let host = Host::initialized().await;
    let deployment = host.deploy(&host.image("v1", &Image::bootable("1")), None).await;
    std::fs::remove_file(host.path(&format!("composefs/images/{}", deployment.id))).unwrap();
    let report = host.backend().verify(&Recorder::default()).await.unwrap();
    assert!(report.problems.iter().any(|p| p.path.ends_with(deployment.id.as_str())), "{report:?}");
}

/// spec: BW-005, BW-304
#[tokio::test]
async fn an_install_that_stops_anywhere_is_finished_by_a_second_run() {
    let image = Image::bootable("1").layer(vec![Entry::File("usr/lib/more", big("more "))]);
    for n in 0.. {
        let host = Host::new();
        let summary = host.image("v1", &image);
        let faults = Faults::stop_before(n);
        let stopped = install(&host, &Host::open(host.context_with(faults.clone())), &summary).await;
        if stopped.is_ok() {
            assert!(n >= 20, "only {n} mutations were counted");
            break;
        }
        assert!(faults.stopped(), "{stopped:?}");
        install(&host, &host.backend(), &summary)
            .await
            .unwrap_or_else(|error| panic!("after mutation {n}: {error:?}"));
        let report = host.backend().verify(&Recorder::default()).await.unwrap();
        assert!(report.problems.is_empty(), "stopped before mutation {n}: {report:?}");
        let deployments = host.backend().deployments().await.unwrap();
        assert!(deployments.len() == 1 && deployments[0].finalized, "{deployments:?}");
        assert_eq!(host.read(&format!("{}/app/default.conf", Host::etc(&deployments[0].id))), "version=1\n");
        assert_eq!(host.read("state/os/default/var/lib/seeded"), "from the image\n");
    }
}

/// spec: BW-005
#[tokio::test]
async fn objects_that_a_power_cut_emptied_are_written_again() {
    let host = Host::initialized().await;
    let image = host.image("v1", &Image::bootable("1"));
    // The last mutations of a fetch: everything is written, nothing is said to be durable.
    let faults = Faults::none().with_log();
    host_fetch(&Host::initialized().await, &image, faults.clone()).await.unwrap();
    let named = faults.log().iter().position(|line| line.contains("name the fetched image")).unwrap();
    host_fetch(&host, &image, Faults::stop_before(named as u64)).await.unwrap_err();
    let stream_is_gone = |path: &std::path::Path| std::fs::remove_file(path).unwrap();
    for entry in std::fs::read_dir(host.path("composefs/streams")).unwrap() {
        let path = entry.unwrap().path();
        if path.is_symlink() {
            stream_is_gone(&path);
        }
    }
    for path in objects(&host) {
        std::fs::remove_file(&path).unwrap();
        std::fs::write(&path, b"").unwrap();
    }
    host.deploy(&image, None).await;
    let report = host.backend().verify(&Recorder::default()).await.unwrap();
    assert!(report.problems.is_empty(), "{report:?}");
}

async fn host_fetch(
    host: &Host,
    image: &bootwright_core::model::ImageSummary,
    faults: Faults,
) -> bootwright_core::Result<()> {
    Host::open(host.context_with(faults)).fetch(image, &Recorder::default()).await.map(drop)
}

async fn install(
    host: &Host,
    backend: &std::sync::Arc<dyn bootwright_core::StorageBackend>,
    image: &bootwright_core::model::ImageSummary,
) -> bootwright_core::Result<()> {
    let _ = host;
    backend.initialize().await?;
    let pinned = backend.fetch(image, &Recorder::default()).await?;
    let deployment = backend.prepare(&super::support::spec(&pinned, None)).await?;
    backend.finalize(&deployment.id).await.map(drop)
}
