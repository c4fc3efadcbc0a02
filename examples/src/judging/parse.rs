//! Verdicts from raw replies.

use std::path::PathBuf;

use anyhow::{Result, anyhow};
use clap::Args;
use llm_eval::judge::files::read_rows;
use llm_eval::verdict::{Grammar, Parsed, parse};
use serde_json::{Map, Value, json};

use crate::cli::say;

#[derive(Debug, Args)]
pub(super) struct Parse {
    /// Replies: an object a line, or an array of objects
    #[arg(value_name = "FILE")]
    file: PathBuf,
    /// rating, pair, arena-hard, vicuna, belle, alpaca-eval, json or rubric, or another system's parser:
    /// fastchat-single, fastchat-pair and so on; `rating:0-5` sets the range, `rubric:clarity,accuracy` the criteria
    #[arg(long, value_name = "NAME")]
    grammar: Grammar,
    /// The field with the reply
    #[arg(long, value_name = "NAME", default_value = "text")]
    field: String,
    /// Print an object a line: {"line", "verdict"} or {"line", "unparsed"}
    #[arg(long)]
    json: bool,
}

impl Parse {
    pub(super) fn run(&self) -> Result<()> {
        let path = self.file.display();
        let (mut parsed, mut unparsed) = (0, 0);
        for row in read_rows::<Map<String, Value>>(&self.file)? {
            let (number, row) = row?;
            let reply = row
                .get(&self.field)
                .and_then(Value::as_str)
                .ok_or_else(|| {
                    anyhow!("{path}:{number}: field `{}`: expected a text", self.field)
                })?;
            let found = parse(&self.grammar, reply);
            match &found {
                Parsed::Verdict(_) => parsed += 1,
                Parsed::Unparsed { .. } => unparsed += 1,
            }
            match (found, self.json) {
                (Parsed::Verdict(verdict), true) => {
                    say(json!({"line": number, "verdict": verdict}))?;
                }
                (Parsed::Unparsed { reason }, true) => {
                    say(json!({"line": number, "unparsed": reason}))?;
                }
                (Parsed::Verdict(verdict), false) => {
                    say(format_args!(
                        "{number}: {}",
                        serde_json::to_string(&verdict)?
                    ))?;
                }
                (Parsed::Unparsed { reason }, false) => say(format_args!("{number}: – {reason}"))?,
            }
        }
        match self.json {
            true => Ok(()),
            false => say(format_args!(
                "{parsed} verdicts, {unparsed} replies without one"
            )),
        }
    }
}
