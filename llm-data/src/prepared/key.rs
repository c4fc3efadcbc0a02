//! What a prepared data set is known by.

use std::path::Path;

use blake3::Hasher;

use crate::chat::today;
use crate::encode::Encoder;
use crate::error::Result;
use crate::report::hash_file;

/// Changes with what encoding makes of the same input, and with the files' layout.
const VERSION: u32 = 2;

/// A hash (BLAKE3) of all that decides on a prepared data set: the tokenizer's files, the template (and the
/// date, UTC, where it states that), the options, and what the caller adds: the contents of the data files, the choice of their records.
#[derive(Debug, Clone)]
pub struct PreparedKey(Hasher);

impl PreparedKey {
    /// Of what an encoder makes of nothing yet.
    pub fn new(encoder: &Encoder) -> Self {
        let definition = encoder.template().definition();
        let key = Self(Hasher::new()).text("version", &VERSION.to_string());
        // A template that states today's date writes something else tomorrow.
        let key = match definition.contains("strftime_now") {
            true => key.text("date", &today()),
            false => key,
        };
        key.text("crate", env!("CARGO_PKG_VERSION"))
            .text("tokenizer", encoder.tokenizer().fingerprint())
            .text("template", &definition)
            .text("options", &format!("{:?}", encoder.options()))
    }

    /// With the contents of a data file; its name does not count.
    ///
    /// # Errors
    /// [`Error::Io`](crate::Error::Io).
    pub fn file(self, path: impl AsRef<Path>) -> Result<Self> {
        Ok(self.text("file", &hash_file(path)?.blake3))
    }

    /// With anything else that decides on the records, such as their format or which of them are held out.
    #[must_use]
    pub fn text(mut self, name: &str, value: &str) -> Self {
        for part in [name, value] {
            self.0.update(&(part.len() as u64).to_le_bytes());
            self.0.update(part.as_bytes());
        }
        self
    }

    /// The directory's name: 32 hexadecimal digits.
    pub fn name(&self) -> String {
        self.0.finalize().to_hex()[..32].to_owned()
    }
}
