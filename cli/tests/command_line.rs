//! The program as a person meets it: exit codes, and errors that say what to do.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

use std::process::{Command, Output, Stdio};

fn program(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_bootwright")).args(args).output().unwrap()
}

/// spec: BW-809
#[test]
fn an_answer_that_could_not_be_written_is_an_error_and_one_that_nobody_read_is_none() {
    let plugins = |out: Stdio| {
        Command::new(env!("CARGO_BIN_EXE_bootwright")).arg("plugins").stdout(out).output().unwrap()
    };
    let full = plugins(std::fs::File::create("/dev/full").unwrap().into());
    assert_eq!(full.status.code(), Some(1));
    assert!(String::from_utf8_lossy(&full.stderr).contains("standard output"), "{full:?}");
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let unread = plugins(writer.into());
    assert!(unread.status.success() && unread.stderr.is_empty(), "{unread:?}");
}

fn complaint(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// spec: BW-807
#[test]
fn a_wrong_command_line_exits_with_2() {
    for args in [&["nonesuch"][..], &[], &["status", "--format", "xml"], &["upgrade", "--check", "--apply"]] {
        assert_eq!(program(args).status.code(), Some(2), "{args:?}");
    }
}

#[test]
fn help_and_version_exit_with_0() {
    for args in [&["--help"][..], &["--version"], &["install", "to-disk", "--help"]] {
        let output = program(args);
        assert_eq!(output.status.code(), Some(0), "{args:?}");
        assert!(!output.stdout.is_empty());
    }
}

/// Needs root.
/// spec: BW-801
#[test]
fn an_unknown_plugin_lists_the_known_ones() {
    let output =
        program(&["install", "to-disk", "--backend", "nonesuch", "--image", "oci:/nowhere", "/nowhere"]);
    let text = complaint(&output);
    assert_eq!(output.status.code(), Some(1));
    assert!(text.contains("nonesuch") && text.contains("hint: compiled in:"), "{text}");
    assert!(text.contains("nothing was changed"), "{text}");
}

/// Needs root.
#[test]
fn status_on_a_system_of_others_says_so_and_has_no_type() {
    let output = program(&["status", "--json"]);
    assert!(output.status.success(), "{}", complaint(&output));
    let host: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(host["apiVersion"], "org.containers.bootc/v1");
    assert_eq!(host["status"]["type"], serde_json::Value::Null);
}

/// Needs root.
#[test]
fn commands_that_need_an_installed_system_say_so() {
    for args in [&["upgrade"][..], &["rollback"], &["gc"], &["fsck"], &["internals", "finalize"]] {
        let output = program(args);
        let text = complaint(&output);
        assert_eq!(output.status.code(), Some(1), "{args:?}");
        assert!(text.contains("not installed by bootwright") && text.contains("hint:"), "{args:?}: {text}");
    }
}

/// Needs root.
/// spec: BW-806
#[test]
fn anybody_but_root_is_told_to_be_root() {
    let program = env!("CARGO_BIN_EXE_bootwright");
    let folder = tempfile::tempdir().unwrap();
    // Where somebody who is nobody can start it.
    let copy = folder.path().join("bootwright");
    std::fs::copy(program, &copy).unwrap();
    std::os::unix::fs::chown(folder.path(), Some(65534), Some(65534)).unwrap();
    let output = Command::new("setpriv")
        .args(["--reuid=65534", "--regid=65534", "--clear-groups"])
        .arg(&copy)
        .arg("status")
        .output()
        .unwrap();
    let text = complaint(&output);
    assert_eq!(output.status.code(), Some(1), "{text}");
    assert!(text.contains("needs root") && text.contains("hint: run it with sudo"), "{text}");
}

/// spec: BW-805
#[test]
fn progress_goes_to_an_open_file_descriptor_only() {
    let output = program(&["--progress-fd", "99", "status"]);
    assert_eq!(output.status.code(), Some(1));
    assert!(complaint(&output).contains("file descriptor 99"), "{}", complaint(&output));
}
