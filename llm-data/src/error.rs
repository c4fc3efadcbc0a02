//! The crate's one error type.

mod list;
mod records;
mod refused;

use std::path::PathBuf;

use crate::issue::{Reason, RecordIssue};

pub(crate) use list::list;
pub(crate) use refused::Refused;

/// The result of this crate's operations.
pub type Result<T> = std::result::Result<T, Error>;

/// Everything that can go wrong between a text file and a sample.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum Error {
    /// A file could not be read.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
    /// A prepared data set that cannot be used.
    #[error("{}: {reason}", path.display())]
    Prepared {
        /// The set's directory, or one of its files.
        path: PathBuf,
        /// Why.
        reason: &'static str,
    },
    /// A file as a whole is not the JSON that it should be.
    #[error("{}:{line}:{column}: {reason}", path.display())]
    Json {
        /// The file.
        path: PathBuf,
        /// Its line, from 1.
        line: usize,
        /// The column in it, from 1.
        column: usize,
        /// The parser's message.
        reason: String,
    },
    /// A file that must be UTF-8 as a whole (a JSON array) is not.
    #[error("{}:{line}: not UTF-8", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first bad byte, from 1.
        line: usize,
    },
    /// Records that break the format; all of them, not only the first.
    #[error("{}: {total} problem(s) in the records{}", path.display(), list(issues, *total))]
    BadRecords {
        /// The file.
        path: PathBuf,
        /// The problems with their line, record, field and reason: the first 10 000 of them.
        issues: Vec<RecordIssue>,
        /// How many problems there are.
        total: usize,
    },
    /// There is no data format of this name.
    #[error("unknown format `{name}`, expected one of: {known}")]
    UnknownFormatName {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A path or a glob under which there is no data file.
    #[error("{pattern}: no data files")]
    NoFiles {
        /// The path or glob.
        pattern: String,
    },
    /// A glob that is none.
    #[error("{pattern}: {reason}")]
    Pattern {
        /// The glob.
        pattern: String,
        /// What is wrong with it.
        reason: String,
    },
    /// A file that the crate was compiled without support for.
    #[error("{}: needs the feature `{feature}` of llm-data", path.display())]
    Feature {
        /// The file.
        path: PathBuf,
        /// The feature.
        feature: &'static str,
    },
    /// A Parquet file is broken.
    #[error("{}: {reason}", path.display())]
    Parquet {
        /// The file.
        path: PathBuf,
        /// What is wrong.
        reason: String,
    },
    /// A Parquet file is compressed with what this build does not read.
    #[error("{}: compressed with {codec}; {remedy}", path.display())]
    Codec {
        /// The file.
        path: PathBuf,
        /// The compression.
        codec: &'static str,
        /// What to do.
        remedy: &'static str,
    },
    /// A record that a format has no place for at all.
    #[error("{what} cannot be written as {format}")]
    CannotConvert {
        /// What the record is, or which part of it is in the way.
        what: &'static str,
        /// The format's name.
        format: &'static str,
    },
    /// Records of another kind than is needed, such as plain texts where conversations are.
    #[error("{}: {format} records are no conversations", path.display())]
    NoConversation {
        /// The file.
        path: PathBuf,
        /// The format that they were read in.
        format: &'static str,
    },
    /// A record that would lose something in a format.
    #[error("written as {format} the record would lose: {losses}")]
    Lossy {
        /// The format's name.
        format: &'static str,
        /// What would be lost, by name.
        losses: String,
    },
    /// An evaluation file whose name does not say what is in it.
    #[error("{}: expected a file .json, .jsonl, .csv or .txt", path.display())]
    UnknownFormat {
        /// The file.
        path: PathBuf,
    },
    /// A CSV file with a quoted field that does not end.
    #[error("{}:{line}: a quoted field without its closing quote", path.display())]
    UnclosedQuote {
        /// The file.
        path: PathBuf,
        /// The line of the opening quote, from 1.
        line: usize,
    },
    /// A data file without a single record.
    #[error("{}: no records", path.display())]
    EmptyDataset {
        /// The file.
        path: PathBuf,
    },
    /// A tokenizer's file is missing a part or cannot be understood.
    #[error("{}: {reason}", path.display())]
    Tokenizer {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The tokenizer failed on a text.
    #[error("the tokenizer failed: {reason}")]
    Encode {
        /// The tokenizer's message.
        reason: String,
    },
    /// A text has a run of white space that tokenizers silently mis-tokenize.
    #[error("a run of {length} white-space characters; the tokenizer takes at most {limit}")]
    WhitespaceRun {
        /// Characters in the run.
        length: usize,
        /// The longest run that is accepted.
        limit: usize,
    },
    /// The tokenizer has ids that the model has no embedding for.
    #[error("the tokenizer has {vocabulary} ids, the model only {embeddings} embeddings")]
    Vocabulary {
        /// The tokenizer's largest id plus one.
        vocabulary: usize,
        /// Rows of the model's embedding table.
        embeddings: usize,
    },
    /// There is no prompt template of this name.
    #[error("unknown template `{name}`, expected one of: {known}")]
    UnknownTemplate {
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: String,
    },
    /// A file of templates is not the YAML that its name says.
    #[error("{}: {reason}", path.display())]
    Yaml {
        /// The file.
        path: PathBuf,
        /// The parser's message.
        reason: String,
    },
    /// A file has no template of this name.
    #[error(
        "{}: no template `{name}`, there are: {}", path.display(), known.join(", ")
    )]
    TemplateNotInFile {
        /// The file.
        path: PathBuf,
        /// The name that was asked for.
        name: String,
        /// The names there are.
        known: Vec<String>,
    },
    /// A field of a template in a file is missing or wrong.
    #[error("{}: template `{entry}`, field `{field}`: {reason}", path.display())]
    TemplateEntry {
        /// The file.
        path: PathBuf,
        /// The template's name, or its number where it has none; empty where the file holds no
        /// list of templates.
        entry: String,
        /// The field; empty where the template as a whole is wrong.
        field: String,
        /// What is wrong.
        reason: Reason,
    },
    /// A template in a file names a separator style that there is not.
    #[error(
        "{}: template `{entry}`, field `sep_style`: unknown style `{style}`, expected one of: {known}",
        path.display()
    )]
    UnknownSeparatorStyle {
        /// The file.
        path: PathBuf,
        /// The template's name.
        entry: String,
        /// The style that is named.
        style: String,
        /// The styles there are.
        known: String,
    },
    /// The template `model` was asked for, but the checkpoint has no chat template.
    #[error(
        "{}: the checkpoint has no chat template (neither chat_template.jinja nor the field \
         `chat_template` of tokenizer_config.json); choose another template", path.display()
    )]
    NoChatTemplate {
        /// The tokenizer's file.
        path: PathBuf,
    },
    /// The template `model` was asked for, and the checkpoint has several without a default.
    #[error(
        "{}: none of the chat templates is named `default`, only {}; choose another --template, or \
         put one of them into chat_template.jinja", path.display(), names.join(", ")
    )]
    NoDefaultTemplate {
        /// The configuration's file.
        path: PathBuf,
        /// The templates' names.
        names: Vec<String>,
    },
    /// A chat template cannot be parsed.
    #[error("chat template, line {line}: {reason}")]
    ChatTemplateSyntax {
        /// The template's line, from 1; 0 where it is not known.
        line: usize,
        /// The parser's message.
        reason: String,
    },
    /// A chat template refused the conversation through `raise_exception`.
    #[error("the chat template refuses the conversation: {message}")]
    ChatTemplateRefused {
        /// The template's own message.
        message: String,
    },
    /// A chat template ran into a limit: an endless loop, an endless string, deep recursion.
    #[error("the chat template exceeds the limit of {limit}")]
    ChatTemplateLimit {
        /// Which limit.
        limit: &'static str,
    },
    /// A chat template failed in another way, such as an unknown filter.
    #[error("chat template, line {line}: {reason}")]
    ChatTemplateFailed {
        /// The template's line, from 1; 0 where it is not known.
        line: usize,
        /// The engine's message.
        reason: String,
    },
    /// A chat template renders a reply differently from what generation continues, so that no
    /// sample could match the prompt.
    #[error(
        "the chat template's generation prompt is no prefix of the same conversation with its \
         reply: the prompt goes on with {prompt:?}, the conversation with {conversation:?}; choose \
         another --template"
    )]
    NotAPrefix {
        /// The beginning of what only the prompt has.
        prompt: String,
        /// The beginning of what only the conversation has.
        conversation: String,
    },
    /// The template ends answers with the tokenizer's end-of-sequence token, and there is none.
    #[error(
        "{}: the tokenizer names no end-of-sequence token, which the template `{template}` needs",
        path.display()
    )]
    NoEndToken {
        /// The tokenizer's file.
        path: PathBuf,
        /// The template.
        template: String,
    },
    /// An option has a value that makes no sense.
    #[error("option `{field}`: expected {expected}, got {got}")]
    Option {
        /// The option.
        field: &'static str,
        /// What is allowed.
        expected: &'static str,
        /// What was given.
        got: String,
    },
    /// More records than can be compared with each other.
    #[error("more than {limit} records cannot be compared with each other")]
    TooManyRecords {
        /// The most there may be.
        limit: u32,
    },
    /// Messages in an order that no template knows.
    #[error("message {message}: expected {expected}, got {got}")]
    Conversation {
        /// The message's number, from 1.
        message: usize,
        /// What should stand there.
        expected: &'static str,
        /// What does.
        got: &'static str,
    },
    /// A conversation with calls of functions, and a template that has no place for them.
    #[error(
        "the template `{template}` has no place for calls of functions and what they give; choose a \
         chat template with tools"
    )]
    NoCalls {
        /// The template.
        template: String,
    },
    /// The template alone leaves no room for the record.
    #[error("the template alone needs {needed} tokens, max_seq_len is {max_seq_len}")]
    DoesNotFit {
        /// Tokens of the template, one of the user's and one of the answer.
        needed: usize,
        /// The limit.
        max_seq_len: usize,
    },
    /// A sample in which no token is supervised.
    #[error("nothing is supervised: the answer has no tokens")]
    NothingSupervised,
    /// There is no sample of this number.
    #[error("there is no sample {index} of {count}, counted from 0")]
    NoSample {
        /// The number, from 0.
        index: usize,
        /// How many there are.
        count: usize,
    },
    /// No sample is left to train on.
    #[error("none of the {records} records can be trained on: {dropped}")]
    NothingLeft {
        /// Records that came in.
        records: usize,
        /// The counts by reason.
        dropped: String,
    },
    /// An error that belongs to one record of several.
    #[error("record {record}: {source}")]
    Record {
        /// The record's number, from 1.
        record: usize,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// An error that belongs to one record of a file.
    #[error("{}: line {line}, record {record}: {source}", path.display())]
    FileRecord {
        /// The file.
        path: PathBuf,
        /// The line where the record begins, from 1; in Parquet the row.
        line: usize,
        /// The record's number in the file, from 1, bad ones counted.
        record: usize,
        /// What is wrong with it.
        source: Box<Error>,
    },
    /// Several records that the chat template refuses or cannot write.
    #[error("the chat template cannot write {total} of the records{}", list(errors, *total))]
    Records {
        /// The first of them, each an [`Error::Record`].
        errors: Vec<Error>,
        /// How many there are.
        total: usize,
    },
    /// A model that data comes from gave no reply.
    #[error("the model gave no reply: {source}")]
    Model {
        /// What happened.
        source: crate::generate::ModelError,
    },
    /// The next question might exceed the budget; it was not asked.
    #[error(
        "the budget ends here: the next question might bring {limit} to {needed}, allowed are \
         {allowed}"
    )]
    Budget {
        /// What is limited: cost, tokens, requests.
        limit: &'static str,
        /// The limit.
        allowed: String,
        /// What all runs on the cache would have used at most, the question included.
        needed: String,
    },
    /// The budget limits the cost, and the prices do not say what the model costs.
    #[error("the budget limits the cost, and there is no price for the model `{model}`")]
    NoPrice {
        /// The model.
        model: String,
    },
    /// The cache of replies failed.
    #[error("{}: the cache failed: {reason}", path.display())]
    Cache {
        /// Its file.
        path: PathBuf,
        /// What the database said.
        reason: String,
    },
    /// Another process holds the cache of replies.
    #[error("{}: another run is using this cache", path.display())]
    CacheLocked {
        /// Its file.
        path: PathBuf,
    },
    /// A prompt's file that cannot serve.
    #[error("{}: {reason}", path.display())]
    Prompt {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
}
