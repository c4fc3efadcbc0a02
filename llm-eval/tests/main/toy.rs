//! A language model that is a function of token ids: the same as `Toy` in tests/goldens/toy.py.
#![allow(clippy::unwrap_used, reason = "tests")]

use std::cell::RefCell;
use std::collections::HashMap;

use llm_data::Tokenizer;
use llm_eval::Result;
use llm_eval::bench::{Generation, LanguageModel, Span, TokenModel, TokenScore};
use regex::Regex;

const BOS: u32 = 1;
const EOS: u32 = 2;

pub(crate) struct Toy {
    pub(crate) bos: bool,
    pub(crate) max_length: usize,
    /// What it says to a context.
    pub(crate) replies: HashMap<String, String>,
    /// What it was asked to score.
    pub(crate) calls: RefCell<Vec<Span>>,
    /// Whose pieces its tokens are; by default words and characters.
    pub(crate) tokenizer: Option<Tokenizer>,
    pieces: Regex,
}

impl Toy {
    pub(crate) fn new(bos: bool, max_length: usize) -> Self {
        Self {
            bos,
            max_length,
            replies: HashMap::new(),
            calls: RefCell::default(),
            tokenizer: None,
            pieces: Regex::new(r"(?s) ?[A-Za-z0-9]+|.").unwrap(),
        }
    }
}

fn piece_id(piece: &str) -> u32 {
    let step = |h: u32, byte| (h ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    piece.bytes().fold(0x811C_9DC5, step) % 50000 + 3
}

/// The hash of each prefix of `ids`.
fn hashes(ids: &[u32]) -> Vec<u64> {
    let mut h = 0xCBF2_9CE4_8422_2325_u64;
    let mut all = Vec::new();
    for id in ids {
        for byte in id.to_le_bytes() {
            h = (h ^ u64::from(byte)).wrapping_mul(0x0100_0000_01B3);
        }
        all.push(h);
    }
    all
}

impl TokenModel for Toy {
    fn encode(&self, text: &str, bos: bool) -> Result<Vec<u32>> {
        if let Some(tokenizer) = &self.tokenizer {
            return Ok(tokenizer.encode(text)?);
        }
        let prefix = (bos && self.bos).then_some(BOS);
        let ids = self
            .pieces
            .find_iter(text)
            .map(|piece| piece_id(piece.as_str()));
        Ok(prefix.into_iter().chain(ids).collect())
    }

    fn bos(&self) -> Option<u32> {
        self.bos.then_some(BOS)
    }

    fn prefix(&self) -> u32 {
        if self.bos { BOS } else { EOS }
    }

    fn max_length(&self) -> usize {
        self.max_length
    }

    fn score(&self, spans: &[Span]) -> Result<Vec<Vec<TokenScore>>> {
        self.calls.borrow_mut().extend_from_slice(spans);
        let score = |span: &Span| {
            let mut ids = span.input(self.max_length)?;
            ids.extend(span.continuation.last());
            let hashes = hashes(&ids).split_off(ids.len() - span.continuation.len());
            Ok(hashes
                .into_iter()
                .map(|h| TokenScore {
                    log_prob: -(((h >> 11) % 1_000_000) as f64) / 100_000.0 - 1e-5,
                    greedy: h % 3 == 0,
                })
                .collect())
        };
        spans.iter().map(score).collect()
    }

    fn distributions(
        &self,
        ids: &[u32],
        from: usize,
        row: &mut dyn FnMut(usize, &[f32]) -> Result<()>,
    ) -> Result<()> {
        for position in from..ids.len() {
            // Two tokens share all probability, the one of the text and the one after it.
            let mut logs = vec![f32::NEG_INFINITY; 51_000];
            let share = if self.bos { 0.5_f32 } else { 0.25 };
            logs[ids[position] as usize] = share.ln();
            logs[ids[position] as usize + 1] = (1.0 - share).ln();
            row(position, &logs)?;
        }
        Ok(())
    }
}

impl LanguageModel for Toy {
    fn name(&self) -> &str {
        "toy/model"
    }

    fn tokens(&self) -> Option<&dyn TokenModel> {
        Some(self)
    }

    fn generate(&self, requests: &[Generation]) -> Result<Vec<Option<String>>> {
        let reply = |request: &Generation| {
            let context = &request.context;
            let reply = self.replies.get(context);
            let reply = reply.or_else(|| self.replies.get(&fnv1a(context)));
            assert!(reply.is_some(), "never asked: {context}");
            reply.cloned()
        };
        Ok(requests.iter().map(reply).collect())
    }
}

/// What stands in a golden instead of a text that others made.
pub(crate) fn fnv1a(text: &str) -> String {
    let hash = text.bytes().fold(0xcbf2_9ce4_8422_2325_u64, |hash, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    format!("fnv1a:{hash:016x}")
}
