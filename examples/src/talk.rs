//! From a prompt's ids to the answer's text.

use anyhow::Result;
use llm_core::{GenerationConfig, LlamaForCausalLM};
use llm_data::{StopStrings, Tokenizer};

/// A model that answers in text.
pub struct Speaker<'a> {
    /// The model.
    pub model: &'a LlamaForCausalLM,
    /// Its tokenizer.
    pub tokenizer: &'a Tokenizer,
    /// How to choose tokens, and which end the answer.
    pub config: GenerationConfig,
    /// Texts that end the answer.
    pub stop_strings: Vec<String>,
}

impl Speaker<'_> {
    /// Generates behind `prompt`; `show` gets the text piece by piece as it comes. Returns all of it.
    pub fn answer(&self, prompt: &[u32], mut show: impl FnMut(&str)) -> Result<String> {
        let mut decode = self.tokenizer.decode_stream();
        let mut stop = StopStrings::new(self.stop_strings.iter().map(String::as_str));
        let mut text = String::new();
        let mut emit = |piece: &str| {
            show(piece);
            text.push_str(piece);
        };
        for id in self.model.generate(prompt, &self.config)? {
            if let Some(piece) = decode.push(id?)? {
                let (piece, ended) = stop.push(&piece);
                emit(&piece);
                if ended {
                    return Ok(text);
                }
            }
        }
        if let Some(piece) = decode.finish()? {
            let (piece, ended) = stop.push(&piece);
            emit(&piece);
            if ended {
                return Ok(text);
            }
        }
        emit(&stop.finish());
        Ok(text)
    }
}
