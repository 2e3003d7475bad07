//! Messages where a person sees them: the kernel log, which goes to the console whatever else works.

use std::fs::OpenOptions;
use std::io::Write;

/// Priority "alert" of facility "daemon" (`Documentation/ABI/testing/dev-kmsg`): printed even with `quiet`.
const ALERT: u8 = (3 << 3) | 1;
const INFO: u8 = (3 << 3) | 6;

const NAME: &str = "bootwright-composefs-root";

/// Tells why this system does not start.
pub fn alert(message: &str) {
    eprintln!("{NAME}: {message}");
    to_kernel_log(ALERT, message);
}

/// Tells what was mounted.
pub fn info(message: &str) {
    println!("{NAME}: {message}");
    to_kernel_log(INFO, message);
}

/// Best effort: without a kernel log there is still standard error, and the unit's result decides what happens.
fn to_kernel_log(priority: u8, message: &str) {
    let one_line = message.replace('\n', " ");
    // One write is one record; a record holds somewhat less than 1 KiB.
    let line: String = format!("<{priority}>{NAME}: {one_line}").chars().take(800).collect();
    if let Ok(mut log) = OpenOptions::new().write(true).open("/dev/kmsg") {
        let _ = log.write_all(line.as_bytes());
    }
}
