use super::*;
use crate::data_dir::temporary_folder;
use log::Level;
use zlayer_binlog::{Encoder, Filter, read, segment_name, segments};

const SECOND: Duration = Duration::from_secs(1);

fn limits() -> RingLimits {
    RingLimits {
        segment_bytes: 4096,
        ring_bytes: 16 << 10,
        segments: 8,
        buffer_bytes: 1024,
        minute_bytes: 1 << 30,
        ..RingLimits::default()
    }
}

fn record(level: Level, message: &str) -> Record<'_> {
    Record::new(Record::now(), level, "plugin p", message)
}

/// What a reader of the folder sees now, message by message; nothing may be torn.
fn read_back(folder: &std::path::Path) -> Vec<String> {
    messages(folder, &mut |text| panic!("{text}"))
}

/// The same, with what is torn told to `complain`.
fn messages(folder: &std::path::Path, complain: &mut dyn FnMut(&str)) -> Vec<String> {
    let mut messages = Vec::new();
    let mut show = |record: &Record<'_>| {
        messages.push(record.message.clone().into_owned());
        Ok(())
    };
    let filter = Filter::default();
    match read(&[folder.to_owned()], &filter, false, &mut show, complain) {
        Ok(()) | Err(zlayer_binlog::ReadError::NoLog(_)) => messages,
        Err(error) => panic!("{error}"),
    }
}

#[test]
fn severity_and_time_decide_when_the_flash_is_written() {
    let folder = temporary_folder().unwrap();
    let (ring, start) = (LogRing::default(), Instant::now());
    ring.write(&record(Level::Info, "early"), start);
    ring.open(folder.clone());
    ring.write(&record(Level::Info, "info"), start);
    assert_eq!(ring.work(start + 9 * SECOND), None);
    assert!(read_back(&folder).is_empty());
    ring.work(start + 10 * SECOND);
    assert_eq!(read_back(&folder), ["early", "info"]);

    let start = start + 20 * SECOND;
    ring.write(&record(Level::Warn, "warn 1"), start);
    assert_eq!(read_back(&folder).len(), 3);
    ring.write(&record(Level::Warn, "warn 2"), start);
    assert_eq!(read_back(&folder).len(), 3);
    assert_eq!(ring.lock().due(), Some(start + SECOND));
    ring.work(start + SECOND);
    assert_eq!(read_back(&folder).len(), 4);

    ring.write(&record(Level::Info, "before"), start + SECOND);
    ring.write(&record(Level::Error, "error"), start + SECOND);
    assert_eq!(read_back(&folder)[4..], ["before", "error"]);
    // It is synced at once, the next one a second later.
    assert_eq!(ring.lock().due(), Some(start + SECOND));
    ring.work(start + SECOND);
    assert_eq!(ring.lock().due(), None);
    ring.write(&record(Level::Error, "again"), start + SECOND);
    assert_eq!(ring.lock().due(), Some(start + 2 * SECOND));
    assert_eq!(read_back(&folder).len(), 7);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_ring_is_bounded_and_keeps_the_youngest() {
    let folder = temporary_folder().unwrap();
    let ring = LogRing::new(limits());
    ring.open(folder.clone());
    let now = Instant::now();
    for i in 0..5000 {
        let message = format!("message number {i}");
        // What the flash is spared is another test's matter.
        ring.lock().spent = 0;
        ring.write(&record(Level::Info, &message), now);
        ring.work(now);
    }
    assert_eq!(ring.close(), None);
    let found = segments(&folder).unwrap();
    let bytes: u64 = found.iter().map(|segment| segment.bytes).sum();
    assert!((8 << 10..=16 << 10).contains(&bytes), "{bytes}");
    assert!(found.iter().all(|segment| segment.bytes <= 4096));
    let messages = read_back(&folder);
    let first = 5000 - messages.len();
    let expected: Vec<String> = (first..5000)
        .map(|i| format!("message number {i}"))
        .collect();
    assert_eq!(messages, expected);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn who_writes_much_erases_nothing_of_others() {
    let folder = temporary_folder().unwrap();
    let ring = LogRing::new(RingLimits {
        // What is left of a segment is one, too.
        segments: 64,
        ..limits()
    });
    ring.open(folder.clone());
    let now = Instant::now();
    let write = |target: &str, message: &str| {
        let record = Record::new(Record::now(), Level::Info, target, message);
        ring.write(&record, now);
    };
    write("zlayer_runtime", "first");
    for i in 0..5000 {
        ring.lock().spent = 0;
        write("plugin noisy", &format!("message number {i}"));
        ring.work(now);
        if i % 1000 == 500 {
            write("plugin quiet", &format!("quiet {i}"));
            write("zlayer_runtime", &format!("own {i}"));
        }
    }
    assert_eq!(ring.close(), None);
    let bytes: u64 = segments(&folder).unwrap().iter().map(|one| one.bytes).sum();
    assert!(bytes <= 16 << 10, "{bytes}");
    let messages = read_back(&folder);
    let others: Vec<&str> = messages
        .iter()
        .map(String::as_str)
        .filter(|message| !message.starts_with("message"))
        .collect();
    let mut expected = vec!["first".to_owned()];
    for i in [500, 1500, 2500, 3500, 4500] {
        expected.extend([format!("quiet {i}"), format!("own {i}")]);
    }
    assert_eq!(others, expected);
    // The noisy one has its youngest.
    let noisy = messages.len() - others.len();
    assert!(noisy > 100, "{noisy}");
    assert!(messages.contains(&"message number 4999".to_owned()));
    assert!(messages.contains(&format!("message number {}", 5000 - noisy)));
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn who_writes_much_takes_no_writes_from_others() {
    let folder = temporary_folder().unwrap();
    let ring = LogRing::new(RingLimits {
        ring_bytes: 64 << 10,
        segments: 64,
        minute_bytes: 6000,
        ..limits()
    });
    ring.open(folder.clone());
    let now = Instant::now();
    let write = |target: &str, message: &str| {
        let record = Record::new(Record::now(), Level::Error, target, message);
        ring.write(&record, now);
    };
    for i in 0..5000 {
        write("plugin noisy", &format!("message number {i}"));
    }
    for i in 0..20 {
        write("plugin quiet", &format!("quiet {i}"));
        write("zlayer_runtime", &format!("own {i}"));
    }
    assert_eq!(ring.close(), None);
    let messages = read_back(&folder);
    for who in ["quiet", "own"] {
        let kept = messages.iter().filter(|one| one.starts_with(who));
        assert_eq!(kept.count(), 20, "{who}");
    }
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn no_more_is_written_in_a_minute_than_the_flash_is_meant_to_take() {
    let folder = temporary_folder().unwrap();
    let ring = LogRing::new(RingLimits {
        ring_bytes: 64 << 10,
        segments: 64,
        minute_bytes: 6000,
        ..limits()
    });
    ring.open(folder.clone());
    let start = Instant::now();
    let flood = |level: Level, at: Instant| {
        let spent = ring.lock().spent;
        for i in 0..5000 {
            ring.write(&record(level, &format!("message number {i}")), at);
            ring.work(at);
        }
        ring.lock().spent - spent
    };
    let (most, margin) = (64 << 10, 200);
    let infos = flood(Level::Info, start);
    assert!(
        (most / 4 * 3 - margin..=most / 4 * 3).contains(&infos),
        "{infos}"
    );
    let errors = flood(Level::Error, start);
    assert!(
        (most / 4 - margin..=most / 4 + margin).contains(&errors),
        "{errors}"
    );
    assert!(ring.lock().spent <= most);
    // Ten seconds earn a sixth of it, and that is for errors.
    let before = ring.lock().spent;
    ring.write(&record(Level::Info, "no"), start + 10 * SECOND);
    assert_eq!(ring.lock().spent, before - 1000);
    ring.write(&record(Level::Error, "late"), start + 10 * SECOND);
    assert!(ring.lock().spent > before - 1000);
    assert_eq!(ring.close(), None);
    let messages = read_back(&folder);
    let told = |message: &&String| message.contains(" records lost: ");
    assert!(messages.iter().any(|message| message == "late"));
    assert!(
        messages.iter().rfind(told).is_some(),
        "{:?}",
        messages.last()
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn each_start_begins_a_segment_and_little_ones_are_joined() {
    let folder = temporary_folder().unwrap();
    std::fs::write(folder.join("notes.txt"), "not ours").unwrap();
    // Names of segments, and the last one of all.
    for number in [1, 2] {
        std::fs::create_dir(folder.join(segment_name(number))).unwrap();
    }
    std::fs::write(folder.join(segment_name(u32::MAX)), "not ours").unwrap();
    // What is left of a rewriting that the power has ended.
    std::fs::write(folder.join(rewriting::WRITTEN_ANEW), "half").unwrap();
    for start in 0..12 {
        let ring = LogRing::new(limits());
        ring.open(folder.clone());
        let message = format!("start {start}");
        ring.write(&record(Level::Info, &message), Instant::now());
        assert_eq!(ring.close(), None);
    }
    let found = segments(&folder).unwrap();
    assert_eq!(found.len(), 8);
    assert_eq!(found.last().map(|one| one.number), Some(14));
    let expected: Vec<String> = (0..12).map(|start| format!("start {start}")).collect();
    assert_eq!(read_back(&folder), expected);
    assert!(folder.join("notes.txt").exists());
    assert!(!folder.join(rewriting::WRITTEN_ANEW).exists());
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_was_written_seldom_outlasts_any_number_of_segments() {
    let folder = temporary_folder().unwrap();
    // Few files, and each segment of the noisy one leaves a piece behind.
    let ring = LogRing::new(limits());
    ring.open(folder.clone());
    let now = Instant::now();
    let write = |target: &str, message: &str| {
        let record = Record::new(Record::now(), Level::Info, target, message);
        ring.write(&record, now);
    };
    for i in 0..20_000 {
        ring.lock().spent = 0;
        write("plugin noisy", &format!("message number {i}"));
        ring.work(now);
        if i % 500 == 0 {
            write("plugin quiet", &format!("quiet {i}"));
        }
    }
    assert_eq!(ring.close(), None);
    assert!(segments(&folder).unwrap().len() <= 8);
    let mut messages = read_back(&folder);
    messages.retain(|message| message.starts_with("quiet"));
    let expected: Vec<String> = (0..40).map(|i| format!("quiet {}", i * 500)).collect();
    assert_eq!(messages, expected);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn what_the_daemon_tells_of_a_plugin_is_the_plugins_share() {
    let folder = temporary_folder().unwrap();
    let ring = LogRing::new(RingLimits {
        ring_bytes: 64 << 10,
        segments: 64,
        minute_bytes: 6000,
        ..limits()
    });
    ring.open(folder.clone());
    let now = Instant::now();
    let tell = |message: &str, of: Option<&str>| {
        let mut record = Record::new(Record::now(), Level::Error, "zlayer_runtime", message);
        let name = of.map(|name| (zlayer_binlog::ABOUT_PLUGIN.into(), name.into()));
        record.fields.extend(name);
        ring.write(&record, now);
    };
    tell("started", None);
    for i in 0..20_000 {
        tell(&format!("plugin failing: trap {i}"), Some("failing"));
        ring.work(now);
    }
    for i in 0..20 {
        tell(&format!("own {i}"), None);
        tell(&format!("plugin other: trap {i}"), Some("other"));
    }
    assert_eq!(ring.close(), None);
    let mut messages = read_back(&folder);
    messages.retain(|message| !message.starts_with("plugin failing"));
    messages.retain(|message| !message.contains(" records lost: "));
    let mut expected = vec!["started".to_owned()];
    for i in 0..20 {
        expected.extend([format!("own {i}"), format!("plugin other: trap {i}")]);
    }
    assert_eq!(messages, expected);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn who_logs_does_not_wait_while_room_is_made() {
    let folder = temporary_folder().unwrap();
    let ring = LogRing::new(limits());
    ring.open(folder.clone());
    let now = Instant::now();
    let write = |target: &str, message: &str| {
        ring.lock().spent = 0;
        let record = Record::new(Record::now(), Level::Error, target, message);
        ring.write(&record, now);
    };
    // Somebody makes room, and does not come to an end.
    let busy = sync::lock(&ring.making_room);
    for i in 0..5000 {
        write("plugin noisy", &format!("message number {i}"));
    }
    write("plugin quiet", "quiet");
    let files = segments(&folder).unwrap();
    let bytes: u64 = files.iter().map(|one| one.bytes).sum();
    // The noisy one has to wait for room, others have their share.
    assert!((7 << 10..=16 << 10).contains(&bytes), "{bytes}");
    assert!(read_back(&folder).contains(&"quiet".to_owned()));
    drop(busy);
    assert_eq!(ring.work(now), None);
    let before = read_back(&folder).len();
    for i in 0..100 {
        write("plugin noisy", &format!("later {i}"));
    }
    assert_eq!(ring.close(), None);
    let later = read_back(&folder).len() - before;
    assert!(later >= 100, "{later}");
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn an_error_is_synced_though_its_segment_has_ended() {
    let folder = temporary_folder().unwrap();
    let ring = LogRing::new(limits());
    ring.open(folder.clone());
    let now = Instant::now();
    ring.write(&record(Level::Error, "first"), now);
    ring.work(now);
    ring.write(&record(Level::Error, "second"), now);
    for i in 0..200 {
        ring.write(&record(Level::Info, &format!("message number {i}")), now);
    }
    let mut state = ring.lock();
    let sync = state.files.as_mut().and_then(Files::unsynced).unwrap();
    assert!(sync.count() >= 2, "{sync:?}");
    drop(state);
    assert_eq!(ring.close(), None);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_segment_that_a_power_cut_has_torn_keeps_what_is_whole() {
    let folder = temporary_folder().unwrap();
    let ring = LogRing::new(limits());
    ring.open(folder.clone());
    for message in ["one", "two", "three"] {
        ring.write(&record(Level::Info, message), Instant::now());
    }
    assert_eq!(ring.close(), None);
    let first = segments(&folder).unwrap().remove(0);
    let whole = std::fs::read(&first.path).unwrap();
    let mut last = 0;
    for bytes in 0..=whole.len() {
        for segment in segments(&folder).unwrap() {
            std::fs::remove_file(segment.path).unwrap();
        }
        std::fs::write(&first.path, &whole[..bytes]).unwrap();
        // As many starts as have it joined with what follows.
        for _ in 0..10 {
            let ring = LogRing::new(limits());
            ring.open(folder.clone());
            ring.write(&record(Level::Info, "later"), Instant::now());
            assert_eq!(ring.close(), None);
        }
        // What is not joined yet is told as torn.
        let mut kept = messages(&folder, &mut |_| ());
        assert_eq!(kept.split_off(kept.len() - 10), ["later"; 10]);
        assert_eq!(kept, ["one", "two", "three"][..kept.len()]);
        assert!(kept.len() >= last, "{bytes}: {kept:?}");
        last = kept.len();
    }
    assert_eq!(last, 3);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn two_segments_that_a_power_cut_found_half_joined_lose_nothing() {
    let folder = temporary_folder().unwrap();
    for message in ["first", "second"] {
        let ring = LogRing::new(limits());
        ring.open(folder.clone());
        ring.write(&record(Level::Info, message), Instant::now());
        assert_eq!(ring.close(), None);
    }
    let pair = segments(&folder).unwrap();
    let older = std::fs::read(&pair[0].path).unwrap();
    rewriting::join(&folder, &pair[0], &pair[1]).unwrap();
    assert_eq!(read_back(&folder), ["first", "second"]);
    // The new one has its place, and the old one has not gone.
    std::fs::write(&pair[0].path, older).unwrap();
    assert_eq!(read_back(&folder), ["first", "first", "second"]);
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn a_folder_that_cannot_be_written_costs_records_and_these_are_counted() {
    let folder = temporary_folder().unwrap();
    let place = folder.join("log");
    std::fs::write(&place, "in the way").unwrap();
    let ring = LogRing::new(limits());
    let start = Instant::now();
    ring.open(place.clone());
    for i in 0..1000 {
        ring.write(&record(Level::Error, &format!("error {i}")), start);
    }
    let trouble = ring.work(start + SECOND).unwrap();
    assert!(trouble.contains(&place.display().to_string()), "{trouble}");
    // Told once, however often it is tried.
    assert_eq!(ring.work(start + 5 * SECOND), None);
    assert!(ring.lock().buffer.len() <= 1024);

    std::fs::remove_file(&place).unwrap();
    ring.work(start + 20 * SECOND);
    assert_eq!(ring.close(), None);
    let messages = read_back(&place);
    let (last, kept) = messages.split_last().unwrap();
    assert_eq!(kept[0], "error 0");
    let lost = 1000 - kept.len();
    assert!(lost > 0);
    assert_eq!(
        *last,
        format!("{lost} records lost: the log could not be written")
    );
    std::fs::remove_dir_all(&folder).unwrap();
}

#[test]
fn the_longest_record_fits_into_the_buffer() {
    let long = "x".repeat(100_000);
    let mut record = record(Level::Info, &long);
    record.target = long.as_str().into();
    record.request = Some(long.as_str().into());
    record.fields = vec![("key".into(), "value".into()); 10_000];
    assert!(Encoder::default().bound(&record) <= RingLimits::default().buffer_bytes);
}
