//! The losses of a run as TensorBoard reads them.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::Path;
use std::process;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context, Result};

use llm_lora::Event;

/// How long a record may wait in memory while others follow.
const FLUSH: Duration = Duration::from_secs(1);

/// `SessionLog.SessionStatus.START`.
const START: u64 = 1;

/// What the names of event files begin with; the seconds since 1970 follow.
const PREFIX: &str = "events.out.tfevents.";

/// A TensorBoard event file: records of the `TFRecord` format, each an `Event` message of
/// [`event.proto`](https://github.com/tensorflow/tensorboard/blob/master/tensorboard/compat/proto/event.proto).
///
/// The tags are those of the Hugging Face `Trainer`: `train/loss`, `train/learning_rate`,
/// `train/grad_norm`, `train/epoch` and `eval/loss`; `train/tokens_per_second` is ours. Values are
/// rounded to `f32`, as the format wants it, and need not be finite.
///
/// Of a resumed run's files, TensorBoard's reader in Python drops what was done again where the later
/// file starts; its data server, the default, does not heed that, and drops it tag by tag when a
/// tag's next value comes.
///
/// A dropped file is complete, but only [`EventFile::flush`] tells whether that succeeded.
#[derive(Debug)]
pub struct EventFile {
    file: BufWriter<File>,
    flushed: Instant,
}

impl EventFile {
    /// Begins a file in a directory. `restart` is the first step that a resumed run will do: what the
    /// directory's earlier files hold of that step and of later ones is dropped when they are read.
    /// Without it the run is a new one, and all that they hold is dropped.
    ///
    /// # Errors
    ///
    /// The directory does not exist or cannot be written to.
    pub fn create(dir: &Path, restart: Option<usize>) -> Result<Self> {
        let context = || format!("cannot write a TensorBoard file in {}", dir.display());
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        // TensorBoard reads the files in the order of their names: this one must be the last.
        let seconds = match latest(dir).with_context(context)? {
            Some(latest) => now.as_secs().max(latest.saturating_add(1)),
            None => now.as_secs(),
        };
        let name = format!("{PREFIX}{seconds:010}.{}.{}.0", hostname(), process::id());
        let mut file = Self {
            file: BufWriter::new(File::create_new(dir.join(name)).with_context(context)?),
            flushed: Instant::now(),
        };
        let step = restart.unwrap_or(0);
        for message in [version(now), session_start(now, step)] {
            file.file
                .write_all(&frame(&message))
                .with_context(context)?;
        }
        file.flush()?;
        Ok(file)
    }

    /// Appends a step's or an evaluation's scalars; other events have none.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn record(&mut self, event: &Event) -> Result<()> {
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?;
        if let Some(message) = summary(now, event) {
            self.file
                .write_all(&frame(&message))
                .context("cannot write the TensorBoard file")?;
        }
        if self.flushed.elapsed() >= FLUSH {
            self.flush()?;
        }
        Ok(())
    }

    /// Writes what is still in memory, which otherwise happens once a second, when records come.
    ///
    /// # Errors
    ///
    /// The file cannot be written.
    pub fn flush(&mut self) -> Result<()> {
        self.flushed = Instant::now();
        self.file
            .flush()
            .context("cannot write the TensorBoard file")
    }
}

/// The greatest number of seconds in the names of a directory's event files.
fn latest(dir: &Path) -> Result<Option<u64>> {
    let mut latest = None;
    for entry in fs::read_dir(dir)? {
        let name = entry?.file_name();
        let seconds = name
            .to_str()
            .and_then(|name| name.strip_prefix(PREFIX)?.split('.').next()?.parse().ok());
        latest = latest.max(seconds);
    }
    Ok(latest)
}

/// The machine's name where Linux tells it; TensorBoard shows it nowhere.
fn hostname() -> String {
    let name = fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._".contains(c);
    match name.trim() {
        name if !name.is_empty() && name.chars().all(plain) => name.to_owned(),
        _ => "localhost".to_owned(),
    }
}

/// A record: length and message, each with its checksum.
fn frame(message: &[u8]) -> Vec<u8> {
    let length = (message.len() as u64).to_le_bytes();
    let mut record = Vec::with_capacity(message.len() + 16);
    record.extend(length);
    record.extend(masked_crc(&length).to_le_bytes());
    record.extend(message);
    record.extend(masked_crc(message).to_le_bytes());
    record
}

/// CRC-32C, masked as in TensorFlow's `lib/hash/crc32c.h`.
fn masked_crc(bytes: &[u8]) -> u32 {
    crc32c::crc32c(bytes)
        .rotate_right(15)
        .wrapping_add(0xa282_ead8)
}

/// The `Event` that every file begins with.
fn version(now: Duration) -> Vec<u8> {
    let mut event = Message::event(now, 0);
    event.bytes(3, b"brain.Event:2");
    event.0
}

/// The `Event` at which TensorBoard drops earlier records of this step and of later ones.
fn session_start(now: Duration, step: usize) -> Vec<u8> {
    let mut log = Message::default();
    log.integer(1, START);
    let mut event = Message::event(now, step);
    event.bytes(7, &log.0);
    event.0
}

/// The `Event` with the scalars of a step or of an evaluation.
fn summary(now: Duration, event: &Event) -> Option<Vec<u8>> {
    let (step, scalars) = match event {
        Event::Step(step) => (
            step.step,
            &[
                ("train/loss", step.loss),
                ("train/learning_rate", step.learning_rate),
                ("train/grad_norm", step.grad_norm),
                ("train/epoch", step.epoch),
                ("train/tokens_per_second", step.tokens_per_second()),
            ][..],
        ),
        Event::Evaluation(evaluation) => {
            (evaluation.step, &[("eval/loss", evaluation.eval_loss)][..])
        }
        _ => return None,
    };
    let mut summary = Message::default();
    for &(tag, scalar) in scalars {
        let mut value = Message::default();
        value.bytes(1, tag.as_bytes());
        value.float(2, scalar as f32);
        summary.bytes(1, &value.0);
    }
    let mut event = Message::event(now, step);
    event.bytes(5, &summary.0);
    Some(event.0)
}

/// A [protobuf](https://protobuf.dev/programming-guides/encoding/) message, field by field.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    /// An `Event`'s first fields: wall time in seconds since 1970, step.
    fn event(now: Duration, step: usize) -> Self {
        let mut event = Self::default();
        event.key(1, 1);
        event.0.extend(now.as_secs_f64().to_le_bytes());
        // Zero is the default, and defaults are left out.
        if step > 0 {
            event.integer(2, step as u64);
        }
        event
    }

    fn integer(&mut self, field: u64, value: u64) {
        self.key(field, 0);
        self.varint(value);
    }

    fn float(&mut self, field: u64, value: f32) {
        self.key(field, 5);
        self.0.extend(value.to_le_bytes());
    }

    fn bytes(&mut self, field: u64, value: &[u8]) {
        self.key(field, 2);
        self.varint(value.len() as u64);
        self.0.extend(value);
    }

    fn key(&mut self, field: u64, wire_type: u64) {
        self.varint(field << 3 | wire_type);
    }

    fn varint(&mut self, mut value: u64) {
        while value >= 0x80 {
            self.0.push(value as u8 | 0x80);
            value >>= 7;
        }
        self.0.push(value as u8);
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use llm_lora::{Evaluation, Skipped, Step};
    use tempfile::tempdir;

    /// What tensorboard 2.21.0 writes in Python: four events of wall time 1700000000.25 through
    /// `tensorboard.summary.writer.record_writer.RecordWriter`, namely
    /// `Event(file_version="brain.Event:2")`,
    /// `Event(step=300, session_log=SessionLog(status=SessionLog.START))`,
    /// `Event(step=300, summary=Summary(value=[Summary.Value(tag="train/loss", simple_value=2.345), …]))`
    /// with the scalars of [`step`], and the same with `eval/loss` 0.
    const GOLDEN: &str = "\
        1800000000000000a37f4b220900001040fc54d9411a0d627261696e2e4576656e743a32338d2fe91000000000000000\
        95fbfe180900001040fc54d94110ac023a0208016b3b88f189000000000000003451aa5c0900001040fc54d94110ac02\
        2a7b0a110a0a747261696e2f6c6f7373157b1416400a1a0a13747261696e2f6c6561726e696e675f7261746515acc5a7\
        370a160a0f747261696e2f677261645f6e6f726d150000807f0a120a0b747261696e2f65706f6368150000c03f0a1e0a\
        17747261696e2f746f6b656e735f7065725f7365636f6e6415000000457493a1a5200000000000000029eda950090000\
        1040fc54d94110ac022a120a100a096576616c2f6c6f73731500000000775d9bb1";

    fn step() -> Event {
        Event::Step(Step {
            step: 300,
            total_steps: 600,
            epoch: 1.5,
            loss: 2.345,
            learning_rate: 2e-5,
            grad_norm: f64::INFINITY,
            tokens: 1024,
            supervised_tokens: 512,
            seconds: 0.5,
        })
    }

    fn evaluation() -> Event {
        Event::Evaluation(Evaluation {
            step: 300,
            epoch: 1.5,
            eval_loss: 0.0,
            seconds: 2.0,
        })
    }

    fn names(dir: &Path) -> Vec<String> {
        let name = |entry: std::io::Result<fs::DirEntry>| entry.unwrap().file_name();
        let mut names: Vec<_> = fs::read_dir(dir)
            .unwrap()
            .map(|entry| name(entry).into_string().unwrap())
            .collect();
        names.sort();
        names
    }

    /// The messages of a file, without their wall times. The checksums are checked by the golden.
    fn messages(dir: &Path, name: &str) -> Vec<Vec<u8>> {
        let bytes = fs::read(dir.join(name)).unwrap();
        let mut rest = &bytes[..];
        let mut messages = Vec::new();
        while let Some((length, more)) = rest.split_first_chunk() {
            let length = u64::from_le_bytes(*length) as usize;
            messages.push(more[13..4 + length].to_vec());
            rest = &more[length + 8..];
        }
        messages
    }

    /// RFC 3720 (iSCSI), B.4, and the check value of the catalogues of CRCs.
    #[test]
    fn checksums_are_those_of_the_rfc() {
        let ascending: Vec<u8> = (0..32).collect();
        let descending: Vec<u8> = (0..32).rev().collect();
        for (bytes, crc) in [
            (&[0; 32][..], 0x8a91_36aa_u32),
            (&[0xff; 32], 0x62a8_ab43),
            (&ascending, 0x46dd_794e),
            (&descending, 0x113f_db5c),
            (b"123456789", 0xe306_9283),
        ] {
            assert_eq!(
                masked_crc(bytes),
                crc.rotate_left(17).wrapping_add(0xa282_ead8)
            );
        }
    }

    #[test]
    fn records_are_those_of_tensorboard() {
        let now = Duration::from_millis(1_700_000_000_250);
        let messages = [
            version(now),
            session_start(now, 300),
            summary(now, &step()).unwrap(),
            summary(now, &evaluation()).unwrap(),
        ];
        let hex: String = messages
            .iter()
            .flat_map(|message| frame(message))
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, GOLDEN);
    }

    #[test]
    fn a_file_holds_what_was_recorded() {
        let dir = tempdir().unwrap();
        let mut file = EventFile::create(dir.path(), None).unwrap();
        let name = names(dir.path()).remove(0);
        assert_eq!(
            messages(dir.path(), &name).len(),
            2,
            "a viewer sees the run at once"
        );

        file.record(&evaluation()).unwrap();
        file.record(&Event::Skipped(Skipped {
            step: 301,
            epoch: 1.5,
            skipped: "loss".to_owned(),
            samples: vec![1],
            seconds: 0.1,
        }))
        .unwrap();
        file.flush().unwrap();
        assert_eq!(messages(dir.path(), &name).len(), 3);
        file.record(&step()).unwrap();
        drop(file);

        let now = Duration::ZERO;
        let expected = [
            version(now),
            session_start(now, 0),
            summary(now, &evaluation()).unwrap(),
            summary(now, &step()).unwrap(),
        ];
        assert_eq!(
            messages(dir.path(), &name),
            expected.map(|message| message[9..].to_vec())
        );
    }

    #[test]
    fn a_viewer_can_follow() {
        let dir = tempdir().unwrap();
        let mut file = EventFile::create(dir.path(), None).unwrap();
        let name = names(dir.path()).remove(0);
        std::thread::sleep(FLUSH);
        file.record(&step()).unwrap();
        assert_eq!(messages(dir.path(), &name).len(), 3);
    }

    /// Also within a second, and when the clock was turned back.
    #[test]
    fn a_resumed_run_has_the_last_file() {
        let dir = tempdir().unwrap();
        drop(EventFile::create(dir.path(), None).unwrap());
        let first = names(dir.path());
        drop(EventFile::create(dir.path(), Some(41)).unwrap());
        let two = names(dir.path());
        assert_eq!((two.len(), &two[0]), (2, &first[0]));
        assert_eq!(
            messages(dir.path(), &two[1])[1],
            session_start(Duration::ZERO, 41)[9..]
        );

        fs::write(
            dir.path().join("events.out.tfevents.9000000000.later.1.0"),
            "",
        )
        .unwrap();
        drop(EventFile::create(dir.path(), Some(51)).unwrap());
        let last = names(dir.path()).pop().unwrap();
        assert!(
            last.starts_with("events.out.tfevents.9000000001."),
            "{last}"
        );
    }

    #[test]
    fn an_absent_directory_is_an_error() {
        let dir = tempdir().unwrap();
        let error = EventFile::create(&dir.path().join("absent"), None).unwrap_err();
        assert!(error.to_string().contains("absent"), "{error}");
    }
}
