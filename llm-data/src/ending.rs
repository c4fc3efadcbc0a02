//! How answers end.

use crate::encode::Encoder;
use crate::error::{Error, Result};
use crate::record::{Dialogue, Turn};

/// What ends an answer.
#[derive(Debug, Clone, Default)]
pub(crate) struct Ending {
    /// Tokens.
    pub(crate) ids: Vec<u32>,
    /// Texts for which there is no special token.
    pub(crate) strings: Vec<String>,
}

/// An answer that no template writes by itself.
const ANSWER: &str = "some answer";

impl Encoder {
    /// What ends the answers that the template writes, and the stops that its file names.
    pub(crate) fn find_ending(&self) -> Result<Ending> {
        let mut ending = self.find_written_ending()?;
        let (strings, ids) = self.template().extra_stops();
        for &id in ids {
            if self.tokenizer().token(id).is_some() && !ending.ids.contains(&id) {
                ending.ids.push(id);
            }
        }
        for string in strings {
            if !string.is_empty() && !ending.strings.contains(string) {
                ending.strings.push(string.clone());
            }
        }
        Ok(ending)
    }

    /// Writes a small conversation down and looks what ends the answer in it.
    fn find_written_ending(&self) -> Result<Ending> {
        let tokenizer = self.tokenizer();
        let mut ending = Ending {
            ids: tokenizer.eos_ids().to_vec(),
            strings: Vec::new(),
        };
        let turn = Turn {
            instruction: "a",
            answer: Some(ANSWER),
            ..Turn::default()
        };
        let dialogue = Dialogue {
            system: None,
            tools: None,
            turns: vec![turn],
        };
        let rendered = match self.template().render(&dialogue, tokenizer.specials()) {
            // Such a template is good for prompts all the same.
            Err(Error::NotAPrefix { .. }) => return Ok(ending),
            rendered => rendered?,
        };
        let tokens = self.rendered_tokens(&rendered)?;
        let last = tokens.ids[tokens.answer].last().copied();
        if let Some(id) = last.filter(|&id| tokenizer.is_special(id)) {
            if !ending.ids.contains(&id) {
                ending.ids.push(id);
            }
            return Ok(ending);
        }
        let answer = rendered.segments.iter().rfind(|segment| segment.supervised);
        let behind = answer.and_then(|segment| segment.text.rsplit_once(ANSWER));
        let marker = behind.map_or("", |(_, behind)| behind.trim());
        if !marker.is_empty() {
            ending.strings.push(marker.to_owned());
        }
        Ok(ending)
    }
}
