//! Encoded data sets on disk: the samples that encoding gives, from files that are sound or prepared anew.

use std::fs;
use std::path::Path;
use std::sync::mpsc;

use llm_data::{
    Conversation, EncodeOptions, Encoder, Error, Message, OnBadRecord, Prepared, PreparedKey, Role,
    Samples,
};

use crate::common::{encoder, long, tiny};

/// More than a file of samples holds.
const MANY: usize = 5000;

fn conversation(number: usize) -> Conversation {
    let answer = "é".repeat(number % 50);
    let mut conversation = Conversation::from(vec![
        Message::new(Role::User, format!("Count to {number}.")),
        Message::new(Role::Assistant, format!("{number} {answer}")),
    ]);
    if number % 100 == 7 {
        // Nothing to learn: left out.
        conversation.messages[1].content = " ".to_owned();
    }
    conversation
}

fn records(count: usize) -> impl Iterator<Item = llm_data::Result<(usize, Conversation)>> + Send {
    (0..count).map(|number| Ok((number * 2 + 1, conversation(number))))
}

fn prepare(dir: Option<&Path>, encoder: &Encoder, count: usize) -> Prepared {
    Prepared::encode(
        dir,
        &PreparedKey::new(encoder),
        encoder,
        records(count),
        OnBadRecord::Fail,
    )
    .unwrap()
}

fn assert_same(set: &Prepared, encoder: &Encoder, count: usize) {
    let all: Vec<Conversation> = (0..count).map(conversation).collect();
    let expected = encoder.encode_conversations(&all).unwrap();
    assert_eq!(set.count().unwrap(), expected.samples.len());
    for (index, sample) in expected.samples.iter().enumerate() {
        assert_eq!(*set.get(index).unwrap(), *sample);
        assert_eq!(set.record(index).unwrap(), expected.records[index] * 2 + 1);
    }
    assert_eq!(set.statistics().unwrap(), expected.statistics);
    let absent = set.get(expected.samples.len());
    assert!(matches!(absent, Err(Error::Prepared { .. })));
}

#[test]
fn a_set_holds_what_encoding_gives_and_is_read_again() {
    let (dir, encoder) = (
        tempfile::tempdir().unwrap(),
        encoder(&tiny(), "alpaca", long()),
    );
    let key = PreparedKey::new(&encoder);
    assert!(Prepared::open(dir.path(), &key).unwrap().is_none());
    let set = prepare(Some(dir.path()), &encoder, MANY);
    assert_same(&set, &encoder, MANY);
    drop(set);
    let again = Prepared::open(dir.path(), &key).unwrap().unwrap();
    assert_same(&again, &encoder, MANY);
    assert_eq!(again.longest(), again.statistics().unwrap().lengths.max);

    let temporary = prepare(None, &encoder, 10);
    assert_same(&temporary, &encoder, 10);
    let place = temporary.dir().to_owned();
    drop(temporary);
    assert!(!place.exists());
}

#[test]
fn files_are_the_same_on_any_number_of_threads() {
    let encoder = encoder(&tiny(), "chatml", long());
    let files = [1, 3].map(|threads| {
        let dir = tempfile::tempdir().unwrap();
        let pool = rayon::ThreadPoolBuilder::new().num_threads(threads);
        let set = pool
            .build()
            .unwrap()
            .install(|| prepare(Some(dir.path()), &encoder, MANY));
        set.count().unwrap();
        let mut files: Vec<_> = fs::read_dir(set.dir())
            .unwrap()
            .map(|file| file.unwrap().path())
            .collect();
        files.sort();
        assert_eq!(files.len(), 3);
        files
            .iter()
            .map(|file| fs::read(file).unwrap())
            .collect::<Vec<_>>()
    });
    assert_eq!(files[0], files[1]);
}

#[test]
fn damage_is_found_and_never_read() {
    let (dir, encoder) = (
        tempfile::tempdir().unwrap(),
        encoder(&tiny(), "alpaca", long()),
    );
    let key = PreparedKey::new(&encoder);
    let set = prepare(Some(dir.path()), &encoder, 30);
    set.count().unwrap();
    let set = set.dir().to_owned();
    let (shard, card) = (set.join("00000.samples"), set.join("prepared.json"));
    let sound = [fs::read(&shard).unwrap(), fs::read(&card).unwrap()];
    let open = || Prepared::open(dir.path(), &key).unwrap().is_some();
    assert!(open());
    let mut damaged: Vec<Vec<u8>> = (0..sound[0].len())
        .step_by(97)
        .map(|place| {
            let mut bytes = sound[0].clone();
            bytes[place] ^= 0x40;
            bytes
        })
        .collect();
    damaged.extend([
        Vec::new(),
        sound[0][..23].to_vec(),
        sound[0][..sound[0].len() - 1].to_vec(),
    ]);
    // Lengths that no file has.
    for place in [8, 16, 24] {
        let mut bytes = sound[0].clone();
        bytes[place..place + 8].fill(0xFF);
        damaged.push(bytes);
    }
    for bytes in damaged {
        fs::write(&shard, bytes).unwrap();
        assert!(!open());
    }
    fs::remove_file(&shard).unwrap();
    assert!(!open());
    fs::write(&shard, &sound[0]).unwrap();
    for bytes in [
        &b"{"[..],
        b"[]",
        b"{\"shards\": [\"x\"]}",
        &sound[1][..sound[1].len() / 2],
    ] {
        fs::write(&card, bytes).unwrap();
        assert!(!open());
    }
    // Prepared anew in the same place.
    let again = prepare(Some(dir.path()), &encoder, 30);
    assert_same(&again, &encoder, 30);
    assert!(open());
}

#[test]
fn the_key_is_of_contents_and_choices() {
    let dir = tempfile::tempdir().unwrap();
    let file = |name: &str, text: &str| {
        let path = dir.path().join(name);
        fs::write(&path, text).unwrap();
        path
    };
    let (a, b, same) = (file("a", "1"), file("b", "2"), file("c", "1"));
    let key = |template: &str, options: EncodeOptions| {
        PreparedKey::new(&encoder(&tiny(), template, options))
    };
    let plain = key("alpaca", long());
    let short = EncodeOptions {
        max_seq_len: 40,
        ..long()
    };
    let names = [
        plain.name(),
        key("chatml", long()).name(),
        key("alpaca", short).name(),
        plain.clone().file(&a).unwrap().name(),
        plain.clone().file(&b).unwrap().name(),
        plain.clone().text("held out", "[1]").name(),
    ];
    let different: std::collections::HashSet<_> = names.iter().collect();
    assert_eq!(different.len(), names.len());
    let file = |path| plain.clone().file(path).unwrap().name();
    assert_eq!(file(&a), file(&same));
    assert!(matches!(
        plain.clone().file(dir.path().join("absent")),
        Err(Error::Io { .. })
    ));
}

#[test]
fn the_first_samples_are_there_while_others_are_encoded() {
    let encoder = encoder(&tiny(), "alpaca", long());
    let (go_on, wait) = mpsc::channel::<()>();
    let slow = records(3 * MANY).inspect(move |record| {
        if matches!(record, Ok((number, _)) if *number == 4 * MANY + 1) {
            // Ends when the test lets go of the other side.
            let _ = wait.recv();
        }
    });
    let key = PreparedKey::new(&encoder);
    let set = Prepared::encode(None, &key, &encoder, slow, OnBadRecord::Fail).unwrap();
    let ready = set.wait_for(100).unwrap();
    assert!(ready.count >= 100 && !ready.all);
    assert_eq!(set.record(5).unwrap(), 11);
    drop(go_on);
    assert_same(&set, &encoder, 3 * MANY);
}

#[test]
fn an_error_reaches_who_waits_and_leaves_no_set() {
    let (dir, encoder) = (
        tempfile::tempdir().unwrap(),
        encoder(&tiny(), "alpaca", long()),
    );
    let key = PreparedKey::new(&encoder);
    let fails = || {
        let mut answers = conversation(1);
        answers.messages.swap(0, 1);
        records(MANY).chain([Ok((77, answers))])
    };
    let set =
        Prepared::encode(Some(dir.path()), &key, &encoder, fails(), OnBadRecord::Fail).unwrap();
    match set.count() {
        Err(Error::Record { record: 77, .. }) => {}
        other => panic!("{other:?}"),
    }
    assert!(matches!(set.count(), Err(Error::Prepared { .. })));
    assert!(matches!(set.statistics(), Err(Error::Prepared { .. })));
    drop(set);
    assert!(Prepared::open(dir.path(), &key).unwrap().is_none());

    // Bad records among them are counted, if they may be.
    let bad = || Error::BadRecords {
        path: "x".into(),
        issues: Vec::new(),
        total: 1,
    };
    let with_bad = || records(20).chain([Err(bad())]);
    let set = Prepared::encode(None, &key, &encoder, with_bad(), OnBadRecord::Fail).unwrap();
    assert!(matches!(set.count(), Err(Error::BadRecords { .. })));
    let set = Prepared::encode(None, &key, &encoder, with_bad(), OnBadRecord::Skip).unwrap();
    let statistics = set.statistics().unwrap();
    assert_eq!((statistics.records, statistics.kept), (21, 19));

    let nothing = Prepared::encode(None, &key, &encoder, records(0), OnBadRecord::Fail).unwrap();
    assert!(matches!(nothing.count(), Err(Error::NothingLeft { .. })));
}

#[test]
fn a_panic_reaches_who_waits() {
    let encoder = encoder(&tiny(), "alpaca", long());
    let key = PreparedKey::new(&encoder);
    let panics = records(MANY).inspect(|record| {
        assert!(
            !matches!(record, Ok((number, _)) if *number > MANY),
            "on purpose"
        );
    });
    let set = Prepared::encode(None, &key, &encoder, panics, OnBadRecord::Fail).unwrap();
    let error = set.count().unwrap_err().to_string();
    assert!(error.contains("panicked"), "{error}");
    assert!(set.statistics().is_err());
}

#[cfg(unix)]
#[test]
fn files_are_readable_as_others_are() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let encoder = encoder(&tiny(), "alpaca", long());
    let set = prepare(Some(dir.path()), &encoder, 5);
    set.count().unwrap();
    let usual = dir.path().join("usual");
    std::fs::write(&usual, "").unwrap();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode();
    for entry in std::fs::read_dir(set.dir()).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), mode(&usual), "{}", path.display());
    }
}

#[test]
fn letting_go_of_a_set_ends_its_preparation() {
    let encoder = encoder(&tiny(), "alpaca", long());
    let endless = (0..).map(|number| Ok((number, conversation(number))));
    let set = Prepared::encode(
        None,
        &PreparedKey::new(&encoder),
        &encoder,
        endless,
        OnBadRecord::Fail,
    )
    .unwrap();
    set.wait_for(1).unwrap();
}
