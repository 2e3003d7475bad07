//! The guest agent: opens its virtio port when that appears, and serves the host on it.

use std::{
    fs::{self, File, OpenOptions},
    io,
    path::PathBuf,
    thread,
    time::{Duration, Instant},
};

use bootwright_guest_agent::{PORT_NAME, serve, wait_for_host};

/// How long to wait for the port, which appears when udev has found the device.
const PATIENCE: Duration = Duration::from_secs(60);

fn main() -> io::Result<()> {
    let port = match open_port() {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {
            println!("this machine was not started by the test harness: there is no port {PORT_NAME}");
            return Ok(());
        }
        result => result?,
    };
    let boot_id = fs::read_to_string("/proc/sys/kernel/random/boot_id")?;
    serve(&port, &port, boot_id.trim(), wait_for_host)
}

fn open_port() -> io::Result<File> {
    let path = PathBuf::from("/dev/virtio-ports").join(PORT_NAME);
    let start = Instant::now();
    loop {
        match OpenOptions::new().read(true).write(true).open(&path) {
            Err(error) if error.kind() == io::ErrorKind::NotFound && start.elapsed() < PATIENCE => {
                thread::sleep(Duration::from_millis(50));
            }
            result => return result,
        }
    }
}
