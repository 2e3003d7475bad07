//! Publishing, rollback, trials and clean-up on a folder, judged by an oracle that shares no code with the loader.

#![expect(clippy::disallowed_methods, reason = "tests make and break files, and start programs, on purpose")]

mod support;

use std::path::Path;

use bootwright_core::{
    Bootloader, ErrorKind,
    efi::{EfiVariables, GLOBAL_VENDOR, LOADER_VENDOR},
    fs::Faults,
    model::{BootPlan, PlannedEntry},
};
use bootwright_loader_systemd_boot::SystemdBoot;
use support::{
    Machine, Make, Store, add, back, deployment, entry_id, keep, new_default, order, plan_with, publish,
    roll_back, room_covers_each_change, sealed, set, tree, write,
};

fn loader(machine: &Machine) -> SystemdBoot {
    faulty(machine, &Faults::none())
}

fn faulty(machine: &Machine, faults: &Faults) -> SystemdBoot {
    SystemdBoot::new(machine.context(faults))
}

/// What systemd-boot would start: the deployment on the command line, after checking that everything the entry names is whole.
///
/// Reads the folder as `boot_entry_compare` orders it, for the keys that our entries have.
fn boots(boot: &Path) -> Option<String> {
    let mut menu = Vec::new();
    for file in std::fs::read_dir(boot.join("loader/entries")).ok()? {
        let name = file.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".conf").filter(|stem| !stem.starts_with('.')) else { continue };
        let Ok(text) = std::fs::read_to_string(boot.join("loader/entries").join(&name)) else { continue };
        let value = |key: &str| {
            let lines = text.lines().filter_map(|line| line.split_once(' '));
            lines.filter(|(k, _)| *k == key).map(|(_, v)| v.trim().to_owned()).collect::<Vec<_>>()
        };
        let Some(program) = value("linux").into_iter().chain(value("efi")).next() else { continue };
        if boot.join(program.trim_start_matches('/')).exists() {
            let exhausted =
                stem.rsplit_once('+').is_some_and(|(_, counter)| counter.split('-').next() == Some("0"));
            let key = value("sort-key").pop();
            menu.push((exhausted, key.is_none(), key, program, value("initrd"), value("options").join(" ")));
        }
    }
    menu.sort();
    let (.., program, initrds, options) = menu.into_iter().next()?;
    Some(started(boot, &program, &initrds, &options))
}

fn started(boot: &Path, program: &str, initrds: &[String], options: &str) -> String {
    let read = |path: &str| std::fs::read(boot.join(path.trim_start_matches('/'))).unwrap();
    let kernel = read(program);
    let text = String::from_utf8_lossy(&kernel).into_owned();
    let of = |text: &str, what: &str| {
        let rest = text.split_once(what).unwrap_or_else(|| panic!("no {what:?} in what boots")).1;
        rest.split([' ', '\0']).next().unwrap().to_owned()
    };
    if options.is_empty() {
        let addon = format!("{program}.extra.d/a.addon.efi");
        assert!(String::from_utf8_lossy(&read(&addon)).contains("from-addon"));
        return of(&text, "root=");
    }
    assert_eq!(initrds.iter().map(|path| read(path)).collect::<Vec<_>>(), [b"one initrd for all"]);
    let id = of(options, "root=");
    assert_eq!(of(&text, "kernel of "), id, "the kernel belongs to another deployment");
    id
}

async fn with(specs: &[&str]) -> (Machine, Store) {
    let (machine, store) = (Machine::new(), Store::new());
    for id in specs {
        add(&loader(&machine), &store, store.split(id)).await;
    }
    (machine, store)
}

/// spec: BW-405
#[tokio::test]
async fn the_newest_publication_boots_and_the_others_follow_in_order() {
    let (machine, store) = with(&["a", "b", "c"]).await;
    assert_eq!(boots(&machine.esp()).as_deref(), Some("c"));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.generation), (vec!["c".into(), "b".into(), "a".into()], 3));
    let first = &state.entries[0];
    assert_eq!(first.cmdline.as_ref().unwrap().to_string(), "root=c quiet");
    assert_eq!((first.title.as_str(), first.problem.as_deref(), first.tries_left), ("System c", None, None));
    add(&loader(&machine), &store, store.unified("u", "")).await;
    assert_eq!(boots(&machine.esp()).as_deref(), Some("u"));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!(state.entries[0].cmdline.as_ref().unwrap().to_string(), "root=u sealed from-addon");
}

/// Stops a publication before each of its mutations, and checks what boots and what the loader says boots.
async fn crash_sweep(make: Make, new: &str) {
    for n in 0.. {
        let (machine, store) = with(&["a", "b"]).await;
        let plan = make(&store, &loader(&machine).read().await.unwrap());
        let faults = Faults::stop_before(n);
        let result = publish(&faulty(&machine, &faults), &plan, &store).await;
        let after = boots(&machine.esp()).unwrap();
        let state = loader(&machine).read().await.unwrap();
        let expected = if state.generation == plan.generation { new } else { "b" };
        assert_eq!(after, expected, "stopped before mutation {n}");
        assert_eq!(
            order(&state)[0],
            expected,
            "read() disagrees with what boots, stopped before mutation {n}"
        );
        assert!(state.entries.iter().all(|entry| entry.problem.is_none()));
        if result.is_ok() {
            assert!(n >= 2 && after == new && !faults.stopped());
            return;
        }
        recover(&machine, &store, &after, make, new).await;
    }
}

/// After a crash: sweeping changes nothing that boots, and a second attempt succeeds.
async fn recover(machine: &Machine, store: &Store, before: &str, make: Make, new: &str) {
    let loader = loader(machine);
    let state = loader.read().await.unwrap();
    loader.sweep(&state.deployments()).await.unwrap();
    assert_eq!(boots(&machine.esp()).as_deref(), Some(before));
    assert!(
        !tree(&machine.esp()).keys().any(|path| path.contains("bootwright-tmp")),
        "temporary files stayed"
    );
    publish(&loader, &make(store, &loader.read().await.unwrap()), store).await.unwrap();
    assert_eq!(boots(&machine.esp()).as_deref(), Some(new));
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_at_any_point_of_a_publication_leaves_the_old_or_the_new_system() {
    crash_sweep(new_default, "c").await;
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_while_a_uki_with_addons_is_published_leaves_the_old_or_the_new_system() {
    crash_sweep(sealed, "c").await;
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_at_any_point_of_a_rollback_leaves_the_old_or_the_new_system() {
    crash_sweep(back, "a").await;
}

/// spec: BW-002, BW-102
#[tokio::test]
async fn staging_is_invisible_and_reads_nothing_for_entries_that_stay() {
    let (machine, store) = with(&["a", "b"]).await;
    let before = loader(&machine).read().await.unwrap();
    let plan = new_default(&store, &before);
    let _ = loader(&machine).stage(&plan, &store, Some(&store)).await.unwrap();
    assert_eq!(loader(&machine).read().await.unwrap(), before);
    assert_eq!(boots(&machine.esp()).as_deref(), Some("b"));
    store.blobs.lock().unwrap().clear();
    let plan = plan_with(&before, keep(&before, "a"));
    loader(&machine).stage(&plan, &store, None).await.unwrap();
}

#[tokio::test]
async fn rolling_back_and_forth_ends_with_one_entry_each_and_no_copies() {
    let (machine, store) = with(&["a", "b"]).await;
    let files = tree(&machine.esp()).keys().filter(|path| path.starts_with("bootwright/")).count();
    for (round, id) in ["a", "b", "a", "b", "a"].into_iter().enumerate() {
        roll_back(&loader(&machine), &store, id).await;
        assert_eq!(boots(&machine.esp()).as_deref(), Some(id), "round {round}");
    }
    loader(&machine).sweep(&set(&["a", "b"])).await.unwrap();
    assert_eq!(boots(&machine.esp()).as_deref(), Some("a"));
    let after = tree(&machine.esp());
    assert_eq!(after.keys().filter(|path| path.starts_with("bootwright/")).count(), files);
    assert_eq!(after.keys().filter(|path| path.starts_with("loader/entries/")).count(), 2);
}

/// spec: BW-405
#[tokio::test]
async fn a_plan_that_turns_the_order_round_is_carried_out() {
    let (machine, store) = with(&["a", "b", "c", "d"]).await;
    let state = loader(&machine).read().await.unwrap();
    for wanted in [["a", "b", "c", "d"], ["b", "d", "a", "c"], ["b", "a", "d", "c"]] {
        let state = loader(&machine).read().await.unwrap();
        let entries = wanted.iter().map(|id| keep(&state, id)).collect();
        let plan = BootPlan { generation: state.generation + 1, entries, one_shot: None };
        publish(&loader(&machine), &plan, &store).await.unwrap();
        loader(&machine).sweep(&set(&wanted)).await.unwrap();
        assert_eq!(order(&loader(&machine).read().await.unwrap()), wanted);
        assert_eq!(boots(&machine.esp()).as_deref(), Some(wanted[0]));
    }
    assert_eq!(state.entries.len(), 4);
}

/// spec: BW-406
#[tokio::test]
async fn a_sweep_removes_entries_and_files_that_nothing_needs_and_keeps_the_default() {
    let (machine, _) = with(&["a", "b", "c"]).await;
    loader(&machine).sweep(&set(&["b"])).await.unwrap();
    assert_eq!(order(&loader(&machine).read().await.unwrap()), ["c", "b"]);
    // Two kernels and the initrd that both use.
    assert_eq!(tree(&machine.esp()).keys().filter(|path| path.starts_with("bootwright/")).count(), 3);
    let again = loader(&machine).sweep(&set(&["b"])).await.unwrap();
    assert!(again.items.is_empty());
}

/// spec: BW-004, BW-401
#[tokio::test]
async fn a_sweep_that_is_stopped_anywhere_never_breaks_what_stays() {
    for n in 0..20 {
        let (machine, store) = with(&["a", "b"]).await;
        roll_back(&loader(&machine), &store, "a").await;
        let faults = Faults::stop_before(n);
        let done = faulty(&machine, &faults).sweep(&set(&["a"])).await.is_ok();
        assert_eq!(boots(&machine.esp()).as_deref(), Some("a"));
        let state = loader(&machine).read().await.unwrap();
        assert!(state.entries.iter().all(|entry| entry.problem.is_none()), "stopped before mutation {n}");
        if done {
            return;
        }
    }
    panic!("the sweep never ended");
}

/// spec: BW-406
#[tokio::test]
async fn sweeping_with_nothing_to_keep_is_refused() {
    let (machine, _) = with(&["a"]).await;
    let before = tree(&machine.esp());
    let error = loader(&machine).sweep(&set(&[])).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
    assert_eq!(tree(&machine.esp()), before);
}

/// spec: BW-007
#[tokio::test]
async fn files_of_others_stay_byte_for_byte() {
    let (machine, store) = (Machine::new(), Store::new());
    let foreign: &[(&str, &[u8])] = &[
        ("loader/entries/debian.conf", b"title Debian\nsort-key debian\nlinux /vmlinuz\n"),
        ("loader/entries/bootwright-x.conf", b"title not ours\nlinux /vmlinuz\n"),
        ("loader/entries/broken.conf", b"\xff\xfe\0\0"),
        ("loader/loader.conf", b"default debian\n"),
        ("EFI/Linux/other.efi", b"MZ"),
        ("EFI/BOOT/BOOTX64.EFI", b"somebody's loader"),
        ("vmlinuz", b"kernel"),
    ];
    for (path, content) in foreign {
        write(&machine.esp(), path, content);
    }
    loader(&machine).install(&store).await.unwrap();
    for id in ["a", "b"] {
        add(&loader(&machine), &store, store.split(id)).await;
    }
    roll_back(&loader(&machine), &store, "a").await;
    loader(&machine).confirm(&deployment("a")).await.unwrap();
    loader(&machine).sweep(&set(&["a"])).await.unwrap();
    let after = tree(&machine.esp());
    for (path, content) in foreign {
        assert_eq!(after.get(*path).map(Vec::as_slice), Some(*content), "{path}");
    }
    let state = loader(&machine).read().await.unwrap();
    assert_eq!(state.foreign, ["bootwright-x.conf", "broken.conf", "debian.conf", "EFI/Linux/other.efi"]);
}

/// spec: BW-007
#[tokio::test]
async fn a_file_that_a_foreign_entry_uses_is_not_swept() {
    let (machine, store) = with(&["a"]).await;
    let kernel = tree(&machine.esp()).into_keys().find(|path| path.ends_with("/linux")).unwrap();
    write(&machine.esp(), "loader/entries/mine.conf", format!("title copy\nlinux /{kernel}\n").as_bytes());
    add(&loader(&machine), &store, store.split("b")).await;
    loader(&machine).sweep(&set(&["b"])).await.unwrap();
    assert!(machine.esp().join(kernel).exists());
}

/// spec: BW-407
#[tokio::test]
async fn damaged_entries_of_ours_are_reported_and_do_not_get_in_the_way() {
    let (machine, store) = with(&["a", "b"]).await;
    write(&machine.esp(), "loader/entries/bootwright-9-empty.conf", b"");
    write(
        &machine.esp(),
        "loader/entries/bootwright-8-gone.conf",
        b"sort-key 0\nlinux /bootwright/none/linux\n",
    );
    std::fs::create_dir(machine.esp().join("loader/entries/bootwright-7-folder.conf")).unwrap();
    let state = loader(&machine).read().await.unwrap();
    assert_eq!(order(&state)[..2], ["b", "a"]);
    assert_eq!(state.entries.iter().filter(|entry| entry.problem.is_some()).count(), 3);
    assert_eq!(boots(&machine.esp()).as_deref(), Some("b"));
    let plan = BootPlan {
        generation: state.generation + 1,
        entries: vec![PlannedEntry::Add(Box::new(store.split("c"))), keep(&state, "b")],
        one_shot: None,
    };
    publish(&loader(&machine), &plan, &store).await.unwrap();
    assert_eq!(boots(&machine.esp()).as_deref(), Some("c"));
}

/// spec: BW-408
#[tokio::test]
async fn a_rollback_to_a_damaged_kernel_is_refused() {
    let (machine, store) = with(&["a", "b"]).await;
    let state = loader(&machine).read().await.unwrap();
    let text = std::fs::read_to_string(machine.esp().join("loader/entries/bootwright-1-a.conf")).unwrap();
    let kernel = text.lines().find_map(|line| line.strip_prefix("linux /")).unwrap();
    let mut bytes = std::fs::read(machine.esp().join(kernel)).unwrap();
    bytes[700] ^= 1;
    write(&machine.esp(), kernel, &bytes);
    let error = publish(&loader(&machine), &plan_with(&state, keep(&state, "a")), &store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::Integrity);
    assert_eq!(boots(&machine.esp()).as_deref(), Some("b"));
}

/// spec: BW-403
#[tokio::test]
async fn a_full_disk_leaves_nothing_behind() {
    for kind in ["split", "unified"] {
        let (machine, mut store) = with(&["a"]).await;
        let before = tree(&machine.esp());
        let spec = if kind == "split" { store.split("b") } else { store.unified("b", "x") };
        store.full.extend(["b/linux".to_owned(), "b/uki".to_owned()]);
        let state = loader(&machine).read().await.unwrap();
        let plan = plan_with(&state, PlannedEntry::Add(Box::new(spec)));
        let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
        assert_eq!(error.kind(), ErrorKind::NoSpace, "{error}");
        assert_eq!(tree(&machine.esp()), before, "{kind}");
        assert!(
            !machine.esp().join("bootwright").read_dir().unwrap().any(|f| f
                .unwrap()
                .path()
                .read_dir()
                .unwrap()
                .next()
                .is_none())
        );
    }
}

/// spec: BW-402
#[tokio::test]
async fn a_store_that_gives_other_bytes_is_an_integrity_error_and_leaves_nothing_behind() {
    let (machine, store) = with(&["a"]).await;
    let before = tree(&machine.esp());
    let spec = store.split("b");
    store.blobs.lock().unwrap().get_mut("b/linux").unwrap()[0] ^= 1;
    let state = loader(&machine).read().await.unwrap();
    let plan = plan_with(&state, PlannedEntry::Add(Box::new(spec)));
    assert_eq!(publish(&loader(&machine), &plan, &store).await.unwrap_err().kind(), ErrorKind::Integrity);
    assert_eq!(tree(&machine.esp()), before);
}

/// spec: BW-404
#[tokio::test]
async fn the_room_that_is_asked_for_covers_each_change_of_a_publication() {
    room_covers_each_change(Machine::new, faulty, &["a"], new_default).await;
    room_covers_each_change(Machine::new, faulty, &[], sealed).await;
}

/// What systemd-boot does to a counted entry before it starts it.
fn count_down(machine: &Machine) {
    let folder = machine.esp().join("loader/entries");
    for file in std::fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let Some((stem, counter)) = name.strip_suffix(".conf").and_then(|name| name.rsplit_once('+')) else {
            continue;
        };
        let mut numbers = counter.split('-').map(|n| n.parse::<u32>().unwrap());
        let (left, done) = (numbers.next().unwrap(), numbers.next().unwrap_or(0));
        let renamed = format!("{stem}+{}-{}.conf", left.saturating_sub(1), done + 1);
        std::fs::rename(folder.join(&name), folder.join(renamed)).unwrap();
    }
}

/// spec: BW-409
#[tokio::test]
async fn a_trial_that_is_confirmed_on_its_last_try_stays_the_default() {
    let (machine, store) = with(&["a"]).await;
    add(&loader(&machine), &store, bootwright_core::model::EntrySpec { tries: Some(2), ..store.split("b") })
        .await;
    for left in [1, 0] {
        count_down(&machine);
        let state = loader(&machine).read().await.unwrap();
        assert_eq!(state.entry_of(&deployment("b")).unwrap().tries_left, Some(left));
    }
    loader(&machine).confirm(&deployment("b")).await.unwrap();
    loader(&machine).confirm(&deployment("b")).await.unwrap();
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state)[0].as_str(), state.entries[0].tries_left), ("b", None));
    assert_eq!(boots(&machine.esp()).as_deref(), Some("b"));
}

/// spec: BW-409
#[tokio::test]
async fn a_trial_that_fails_falls_back_and_can_be_asked_for_once_more() {
    let (machine, store) = with(&["a"]).await;
    add(&loader(&machine), &store, bootwright_core::model::EntrySpec { tries: Some(1), ..store.split("b") })
        .await;
    assert_eq!(boots(&machine.esp()).as_deref(), Some("b"));
    count_down(&machine);
    assert_eq!(boots(&machine.esp()).as_deref(), Some("a"));
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((order(&state), state.entries[1].tries_left), (vec!["a".into(), "b".into()], Some(0)));
    roll_back(&loader(&machine), &store, "b").await;
    assert_eq!(boots(&machine.esp()).as_deref(), Some("b"));
    count_down(&machine);
    assert_eq!(boots(&machine.esp()).as_deref(), Some("a"));
}

/// What systemd-boot has done to the entries of a generation when all their tries are used up.
fn use_up(machine: &Machine, generation: u64) {
    let folder = machine.esp().join("loader/entries");
    for file in std::fs::read_dir(&folder).unwrap() {
        let name = file.unwrap().file_name().into_string().unwrap();
        let ours = name.starts_with(&format!("bootwright-{generation}-"));
        let Some((stem, counter)) = name.split_once('+').filter(|_| ours) else { continue };
        let all = counter.trim_end_matches(".conf");
        std::fs::rename(folder.join(&name), folder.join(format!("{stem}+0-{all}.conf"))).unwrap();
    }
}

/// spec: BW-318, BW-409
#[tokio::test]
async fn a_sweep_while_the_last_try_runs_leaves_its_entry_and_not_an_older_one() {
    let (machine, store) = with(&["a"]).await;
    let tried = |id, args: &str| {
        let spec = bootwright_core::model::EntrySpec { tries: Some(2), ..store.split(id) };
        bootwright_core::model::EntrySpec { extra_args: args.parse().unwrap(), ..spec }
    };
    add(&loader(&machine), &store, tried("b", "old")).await;
    let state = loader(&machine).read().await.unwrap();
    let moved = ["c", "b"].map(|id| PlannedEntry::Add(Box::new(tried(id, "new"))));
    let entries = moved.into_iter().chain([keep(&state, "a")]).collect();
    publish(&loader(&machine), &BootPlan { generation: 3, entries, one_shot: None }, &store).await.unwrap();
    use_up(&machine, 3);
    loader(&machine).sweep(&set(&["a", "b"])).await.unwrap();
    let state = loader(&machine).read().await.unwrap();
    let line = state.entry_of(&deployment("b")).unwrap().cmdline.as_ref().unwrap().to_string();
    assert!(line.contains("new"), "{line}");
    loader(&machine).confirm(&deployment("b")).await.unwrap();
    assert_eq!(boots(&machine.esp()).as_deref(), Some("b"));
}

/// spec: BW-401
#[tokio::test]
async fn a_power_cut_while_confirming_leaves_the_entry_counted_or_blessed() {
    for n in 0..4 {
        let (machine, store) = with(&["a"]).await;
        add(
            &loader(&machine),
            &store,
            bootwright_core::model::EntrySpec { tries: Some(2), ..store.split("b") },
        )
        .await;
        count_down(&machine);
        let confirmed = faulty(&machine, &Faults::stop_before(n)).confirm(&deployment("b")).await;
        assert_eq!((confirmed.is_ok(), boots(&machine.esp()).as_deref()), (n == 3, Some("b")));
        loader(&machine).confirm(&deployment("b")).await.unwrap();
        let state = loader(&machine).read().await.unwrap();
        assert_eq!((order(&state), state.entries[0].tries_left), (vec!["b".into(), "a".into()], None));
    }
}

/// spec: BW-410
#[tokio::test]
async fn one_boot_of_an_older_entry_is_a_variable_with_the_loader_s_name_for_it() {
    let (machine, store) = with(&["a", "b"]).await;
    let state = loader(&machine).read().await.unwrap();
    let mut plan = plan_with(&state, keep(&state, "b"));
    plan.one_shot = Some(entry_id(&state, "a"));
    publish(&loader(&machine), &plan, &store).await.unwrap();
    let value = machine.variable(LOADER_VENDOR, "LoaderEntryOneShot").unwrap();
    let expected: Vec<u8> = "bootwright-1-a.conf\0".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert_eq!(value, expected);
    let state = loader(&machine).read().await.unwrap();
    assert_eq!((state.one_shot.clone(), order(&state)[0].as_str()), (Some(entry_id(&state, "a")), "b"));
    add(&loader(&machine), &store, store.split("c")).await;
    assert_eq!(machine.variable(LOADER_VENDOR, "LoaderEntryOneShot"), None);
}

/// spec: BW-006
#[tokio::test]
async fn one_boot_without_firmware_is_unsupported_and_changes_nothing() {
    let (machine, store) = (Machine::without_firmware(), Store::new());
    add(&loader(&machine), &store, store.split("a")).await;
    let before = tree(&machine.esp());
    let state = loader(&machine).read().await.unwrap();
    let mut plan = plan_with(&state, PlannedEntry::Add(Box::new(store.split("b"))));
    plan.one_shot = Some(entry_id(&state, "a"));
    let error = publish(&loader(&machine), &plan, &store).await.unwrap_err();
    assert_eq!((error.kind(), tree(&machine.esp())), (ErrorKind::Unsupported, before));
    assert!(!loader(&machine).capabilities().one_shot);
}

#[tokio::test]
async fn plans_that_make_no_sense_are_refused_before_anything_is_touched() {
    let (machine, store) = with(&["a"]).await;
    let before = tree(&machine.esp());
    let state = loader(&machine).read().await.unwrap();
    let add = |id| PlannedEntry::Add(Box::new(store.split(id)));
    let gone = PlannedEntry::Keep("bootwright-1-gone".parse().unwrap());
    let plans = [
        (2, vec![], ErrorKind::InvalidInput),
        (1, vec![add("b")], ErrorKind::InvalidInput),
        (2, vec![add("b"), add("b")], ErrorKind::InvalidInput),
        (2, vec![add("a"), keep(&state, "a")], ErrorKind::InvalidInput),
        (2, vec![add("b"), gone], ErrorKind::NotFound),
    ];
    for (generation, entries, kind) in plans {
        let plan = BootPlan { generation, entries, one_shot: None };
        assert_eq!(publish(&loader(&machine), &plan, &store).await.unwrap_err().kind(), kind);
        assert_eq!(tree(&machine.esp()), before);
    }
}

#[tokio::test]
async fn entries_and_kernels_go_to_xbootldr_where_there_is_one() {
    let machine = Machine { xbootldr: true, ..Machine::new() };
    let store = Store::new();
    loader(&machine).install(&store).await.unwrap();
    add(&loader(&machine), &store, store.split("a")).await;
    assert_eq!(boots(&machine.folder.path().join("xbootldr")).as_deref(), Some("a"));
    let esp: Vec<_> = tree(&machine.esp()).into_keys().collect();
    assert_eq!(esp, ["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi", "loader/loader.conf"]);
}

/// spec: BW-411, BW-640
#[tokio::test]
async fn a_signed_loader_of_the_image_is_preferred_to_the_one_without_a_signature() {
    let (machine, mut store) = (Machine::new(), Store::new());
    let signed = b"MZ #### LoaderInfo: systemd-boot 257.13-1 #### and a signature".to_vec();
    store.files.insert("usr/lib/systemd/boot/efi/systemd-bootx64.efi.signed".to_owned(), signed.clone());
    loader(&machine).install(&store).await.unwrap();
    let esp = tree(&machine.esp());
    for path in ["EFI/BOOT/BOOTX64.EFI", "EFI/systemd/systemd-bootx64.efi"] {
        assert_eq!(esp.get(path), Some(&signed), "{path}");
    }
}

/// spec: BW-411, BW-415
#[tokio::test]
async fn installing_twice_writes_once_and_sets_no_default() {
    let (machine, store) = (Machine::new(), Store::new());
    loader(&machine).install(&store).await.unwrap();
    let faults = Faults::none();
    faulty(&machine, &faults).install(&store).await.unwrap();
    assert_eq!(faults.count(), 0);
    let conf = tree(&machine.esp()).remove("loader/loader.conf").unwrap();
    assert!(!String::from_utf8(conf).unwrap().lines().any(|line| line.starts_with("default")));
}

/// spec: BW-411
#[tokio::test]
async fn the_firmware_learns_of_the_loader_once_and_behind_what_it_boots_now() {
    let (machine, store) = (Machine::new(), Store::new());
    let efi = machine.efi.as_ref().unwrap();
    efi.write(GLOBAL_VENDOR, "Boot0000", b"garbage").unwrap();
    efi.write(GLOBAL_VENDOR, "BootOrder", &[0, 0, 1, 0]).unwrap();
    for _ in 0..2 {
        loader(&machine).install(&store).await.unwrap();
        assert_eq!(machine.variable(GLOBAL_VENDOR, "BootOrder").unwrap(), [0, 0, 1, 0, 2, 0]);
    }
    let option = machine.variable(GLOBAL_VENDOR, "Boot0002").unwrap();
    let path: Vec<u8> =
        "\\EFI\\systemd\\systemd-bootx64.efi".encode_utf16().flat_map(u16::to_le_bytes).collect();
    assert!(option.windows(path.len()).any(|window| window == path));
    assert_eq!(efi.list(GLOBAL_VENDOR).unwrap(), ["Boot0000", "Boot0002", "BootOrder"]);
}

/// spec: BW-411
#[tokio::test]
async fn an_image_without_systemd_boot_is_told_which_package_has_it() {
    let (machine, mut store) = (Machine::new(), Store::new());
    store.files.clear();
    let error = loader(&machine).install(&store).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::NotFound);
    assert!(error.hint().unwrap().contains("systemd-boot-efi"));
    assert!(tree(&machine.esp()).is_empty());
}

/// spec: BW-412
#[tokio::test]
async fn arguments_reach_a_sealed_uki_by_an_addon() {
    let (machine, store) = (Machine::new(), Store::new());
    add(&loader(&machine), &store, store.unified("u", "console=ttyS0")).await;
    let state = loader(&machine).read().await.unwrap();
    assert_eq!(
        state.entries[0].cmdline.as_ref().unwrap().to_string(),
        "root=u sealed from-addon console=ttyS0"
    );
    let text = std::fs::read_to_string(machine.esp().join("loader/entries/bootwright-1-u.conf")).unwrap();
    assert!(!text.contains("options"), "options would replace what the UKI embeds: {text}");
}
