//! From a prompt's ids to the answer's text.

use anyhow::{Result, bail};
use llm_core::{GenerationConfig, LlamaForCausalLM};
use llm_data::{DecodeStream, StopStrings};

/// A model that answers in text.
pub struct Speaker<'a> {
    /// The model.
    pub model: &'a LlamaForCausalLM,
    /// How to choose tokens, and which end the answer.
    pub config: GenerationConfig,
    /// Texts that end the answer.
    pub stop_strings: Vec<String>,
}

impl Speaker<'_> {
    /// Tokens that prompt and answer may have together.
    pub fn context(&self) -> usize {
        self.model.config().max_position_embeddings
    }

    /// Generates behind `prompt`; `show` gets the text piece by piece as it comes. Returns all of it.
    /// The answer ends where the model's context does.
    pub fn answer(
        &self,
        prompt: &[u32],
        mut decode: DecodeStream,
        mut show: impl FnMut(&str) -> Result<()>,
    ) -> Result<String> {
        let Some(room) = self
            .context()
            .checked_sub(prompt.len())
            .filter(|room| *room > 0)
        else {
            bail!(
                "a prompt of {} tokens, in a context of {}",
                prompt.len(),
                self.context()
            );
        };
        let config = GenerationConfig {
            max_new_tokens: self.config.max_new_tokens.min(room),
            ..self.config.clone()
        };
        let mut stop = StopStrings::new(self.stop_strings.iter().map(String::as_str));
        let mut text = String::new();
        let mut emit = |piece: &str| {
            text.push_str(piece);
            show(piece)
        };
        let mut ended = false;
        for id in self.model.generate(prompt, &config)? {
            if let Some(piece) = decode.push(id?)? {
                let (piece, is_end) = stop.push(&piece);
                emit(&piece)?;
                if is_end {
                    ended = true;
                    break;
                }
            }
        }
        if !ended {
            let rest = decode.finish()?.unwrap_or_default();
            let (piece, is_end) = stop.push(&rest);
            emit(&piece)?;
            if !is_end {
                emit(&stop.finish())?;
            }
        }
        Ok(text)
    }
}
