//! Long conversations in pieces.

use std::path::PathBuf;

use anyhow::{Context, Result, bail};
use clap::Args;
use llm_data::{CountTokens, Numbered, PieceRule, Pieces, Record, Report, Tokenizer, in_order};
use serde::Serialize;

use super::convert::place;
use super::files::Rewritten;
use super::input::{also, size};
use super::output::Writer;
use crate::cli::say;

#[derive(Debug, Args, Serialize)]
pub(super) struct Split {
    #[command(flatten)]
    #[serde(flatten)]
    files: Rewritten,
    /// Directory of the tokenizer that counts
    #[arg(long, value_name = "DIR")]
    model: PathBuf,
    /// The most tokens of a piece, six more reckoned for each message
    #[arg(long, value_name = "N", default_value_t = 2048)]
    max_tokens: usize,
    /// fixed: nothing is lost; compat: as FastChat does it, which loses last exchanges
    #[arg(long, value_name = "RULE", default_value = "fixed")]
    rule: PieceRule,
}

impl Split {
    pub(super) fn run(&self) -> Result<()> {
        let pieces = Pieces::new(Tokenizer::from_dir(&self.model)?)
            .max_tokens(self.max_tokens)
            .rule(self.rule);
        let mut records = self.files.open()?;
        let (mut before, mut after) = (records.survey(), records.survey());
        let mut report = Report::new("split", serde_json::to_value(self)?);
        let mut writer: Option<Writer> = None;
        let (mut count, mut divided, mut lost) = (0, 0, 0);
        let divide = |record: Result<(usize, Numbered<Record>)>| {
            let (_, numbered) = record?;
            let found = match &numbered.record {
                Record::Conversation(conversation) => pieces.divide(conversation),
                _ => bail!(
                    "{}: {} are no conversations",
                    numbered.path.display(),
                    numbered.format
                ),
            };
            let found = found.with_context(|| place(&numbered))?;
            Ok((numbered, found))
        };
        in_order(records.by_ref(), size, divide, |done| {
            let (numbered, found) = done?;
            before.add(&numbered.record, CountTokens::No)?;
            count += 1;
            divided += usize::from(found.len() > 1);
            let messages: usize = found.iter().map(|piece| piece.messages.len()).sum();
            if let Record::Conversation(conversation) = &numbered.record {
                lost += conversation.messages.len().saturating_sub(messages);
            }
            for piece in found {
                after.add(&piece, CountTokens::No)?;
                let writer = match &mut writer {
                    Some(writer) => writer,
                    None => writer.insert(self.files.create(Some(numbered.format))?),
                };
                writer.write(&Record::Conversation(piece), || place(&numbered))?;
            }
            Ok::<_, anyhow::Error>(())
        })?;
        let Some(writer) = writer else {
            bail!("there are no pieces of {count} conversations");
        };
        say(format_args!(
            "{divided} of {count} conversations divided, {lost} messages lost"
        ))?;
        records.seen().account(&mut report)?;
        also(&mut report, &self.model)?;
        (report.before, report.after) = (Some(before), Some(after));
        self.files.finish(writer, &mut report)
    }
}
