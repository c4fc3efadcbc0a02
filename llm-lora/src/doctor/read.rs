//! Reading `metrics.jsonl`.

use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::Path;

use crate::train::Event;
use crate::{Error, Result};

/// The most bytes of a line; a row has some 200, and 20 more for each sample of a skipped step.
const MAX_LINE: u64 = 1 << 20;

/// The events of a `metrics.jsonl`, finished or still being written: a last line that is cut off is left
/// out.
///
/// # Errors
/// When the file cannot be read, or a line is not an event or longer than 1 MiB; names the line.
pub fn read_metrics(path: impl AsRef<Path>) -> Result<Vec<Event>> {
    let path = path.as_ref();
    let io = |source| Error::Io {
        path: path.to_owned(),
        source,
    };
    let mut file = BufReader::new(File::open(path).map_err(io)?);
    let mut events = Vec::new();
    for number in 1.. {
        let mut line = Vec::new();
        let read = file.by_ref().take(MAX_LINE).read_until(b'\n', &mut line);
        let length = read.map_err(io)?;
        let whole = line.ends_with(b"\n");
        let wrong = |reason: String| Error::Metrics {
            path: path.to_owned(),
            line: number,
            reason,
        };
        if length == 0 {
            break;
        }
        if !whole && length as u64 == MAX_LINE {
            return Err(wrong(format!("longer than {MAX_LINE} bytes")));
        }
        if line.trim_ascii().is_empty() {
            continue;
        }
        match serde_json::from_slice(line.trim_ascii_end()) {
            Ok(event) => events.push(event),
            Err(_) if !whole => break,
            Err(error) if error.is_data() => {
                return Err(wrong(
                    "neither a step nor an evaluation nor a skipped step".to_owned(),
                ));
            }
            Err(error) => return Err(wrong(format!("no JSON at column {}", error.column()))),
        }
    }
    Ok(events)
}
