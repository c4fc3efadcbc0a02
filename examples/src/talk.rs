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

/// What was generated.
pub struct Spoken {
    /// The text.
    pub text: String,
    /// Its tokens.
    pub tokens: usize,
    /// Whether it ended only because it may not be longer.
    pub is_cut: bool,
}

impl Speaker<'_> {
    /// Tokens that prompt and answer may have together.
    pub fn context(&self) -> usize {
        self.model.config().max_position_embeddings
    }

    /// Generates behind `prompt`; `show` gets the text piece by piece as it comes. Returns all of it.
    /// The answer ends where the model's context does.
    ///
    /// # Errors
    /// When the prompt does not fit, and what goes wrong in the model or in `show`.
    pub fn answer(
        &self,
        prompt: &[u32],
        decode: DecodeStream,
        show: impl FnMut(&str) -> Result<()>,
    ) -> Result<String> {
        Ok(self.answer_whole(prompt, decode, show)?.text)
    }

    /// The same, with how it ended.
    ///
    /// # Errors
    /// As [`answer`](Self::answer).
    pub fn answer_whole(
        &self,
        prompt: &[u32],
        mut decode: DecodeStream,
        mut show: impl FnMut(&str) -> Result<()>,
    ) -> Result<Spoken> {
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
        let (mut ended, mut tokens) = (false, 0);
        for id in self.model.generate(prompt, &config)? {
            tokens += 1;
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
            ended = is_end;
        }
        Ok(Spoken {
            text,
            tokens,
            is_cut: !ended && tokens == config.max_new_tokens,
        })
    }
}
