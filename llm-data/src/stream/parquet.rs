//! Parquet files: reading of rows, and writing with the columns of each format.
//!
//! Fields that have no column of their own are kept as JSON in a text column `__extra`.

use std::fs::File;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use arrow_array::{Array, ArrayRef, ListArray, RecordBatch, StringArray, StructArray};
use arrow_buffer::{NullBuffer, OffsetBuffer};
use arrow_schema::{ArrowError, DataType, Field, Fields};
use parquet::arrow::arrow_reader::{ParquetRecordBatchReader, ParquetRecordBatchReaderBuilder};
use parquet::arrow::{ArrowWriter, ProjectionMask};
use parquet::basic::Compression;
use parquet::errors::ParquetError;
use parquet::file::metadata::ParquetMetaData;
use parquet::file::properties::WriterProperties;
use serde_json::Value;

use super::scan::Row;
use super::values::{Values, has_form};
use crate::error::{Error, Result};
use crate::format::Format;
use crate::issue::Reason;
use crate::load::io;

/// The column of fields that have none.
pub(super) const EXTRA: &str = "__extra";
/// Rows that are decoded, or encoded, at once.
const BATCH: usize = 64;
/// Bytes of text that are encoded at once.
const BATCH_BYTES: usize = 4 << 20;
/// The encoded bytes of a row group, all of which the writer holds.
const ROW_GROUP: usize = 16 << 20;

/// The rows of a Parquet file.
pub(crate) struct ParquetRows {
    path: PathBuf,
    batches: ParquetRecordBatchReader,
    values: Values,
    batch: Option<StructArray>,
    at: usize,
    row: usize,
    /// The longest record in bytes of text.
    limit: usize,
}

impl ParquetRows {
    pub(super) fn open(path: &Path, limit: usize) -> Result<Self> {
        let file = File::open(path).map_err(|source| io(path, source))?;
        let builder = guarded(path, || {
            let builder = ParquetRecordBatchReaderBuilder::try_new(file)?;
            Ok(builder.with_batch_size(BATCH))
        })?;
        let mut values = Values::new(path);
        let mut read = vec![true; builder.schema().fields().len()];
        for (read, field) in read.iter_mut().zip(builder.schema().fields()) {
            *read = has_form(field.data_type());
            if !*read {
                values.passed_over(field.name(), field.data_type());
            }
        }
        check_codecs(path, builder.metadata(), &read)?;
        let batches = guarded(path, || {
            let indices = (0..read.len()).filter(|&root| read[root]);
            let mask = ProjectionMask::roots(builder.parquet_schema(), indices);
            builder.with_projection(mask).build()
        })?;
        Ok(Self {
            path: path.to_owned(),
            batches,
            values,
            batch: None,
            at: 0,
            row: 0,
            limit,
        })
    }

    pub(super) fn next(&mut self) -> Result<Option<Row>> {
        loop {
            if let Some(batch) = &self.batch
                && self.at < batch.len()
            {
                let value = self.values.object(batch, self.at);
                self.at += 1;
                self.row += 1;
                let value = value.map_err(|error| Reason::Syntax(format!("`{EXTRA}`: {error}")));
                let limit = self.limit;
                let value = value.and_then(|value| match text_bytes(&value) > limit {
                    true => Err(Reason::TooLong { limit }),
                    false => Ok(value),
                });
                return Ok(Some(Row {
                    line: self.row,
                    value,
                }));
            }
            let batches = &mut self.batches;
            let batch = guarded(&self.path, || Ok(batches.next().transpose()?))?;
            let Some(batch) = batch else {
                return Ok(None);
            };
            self.batch = Some(batch.into());
            self.at = 0;
        }
    }
}

/// Refuses what this build cannot decompress in the columns that are read.
fn check_codecs(path: &Path, metadata: &ParquetMetaData, read: &[bool]) -> Result<()> {
    let schema = metadata.file_metadata().schema_descr();
    for group in metadata.row_groups() {
        for (leaf, column) in group.columns().iter().enumerate() {
            let (codec, remedy) = match column.compression() {
                Compression::ZSTD(_) if !cfg!(feature = "parquet-zstd") => (
                    "Zstandard",
                    "build llm-data with the feature `parquet-zstd`, or write it with Snappy",
                ),
                Compression::LZ4 | Compression::LZ4_RAW => ("LZ4", "write it with Snappy"),
                Compression::BROTLI(_) => ("Brotli", "write it with Snappy"),
                Compression::LZO => ("LZO", "write it with Snappy"),
                _ => continue,
            };
            if read[schema.get_column_root_idx(leaf)] {
                return Err(Error::Codec {
                    path: path.to_owned(),
                    codec,
                    remedy,
                });
            }
        }
    }
    Ok(())
}

/// The crate `parquet` panics on some broken files, such as one with a column that begins before
/// the file: an error as the others. Nothing that it leaves behind is used again.
fn guarded<T>(
    path: &Path,
    read: impl FnOnce() -> std::result::Result<T, ParquetError>,
) -> Result<T> {
    match catch_unwind(AssertUnwindSafe(read)) {
        Ok(read) => read.map_err(|error| failed(path, error)),
        Err(_) => Err(failed(path, "the Parquet file is broken")),
    }
}

fn failed(path: &Path, reason: impl ToString) -> Error {
    Error::Parquet {
        path: path.to_owned(),
        reason: reason.to_string(),
    }
}

/// What a column, or a field within one, holds.
#[derive(Debug, Clone, Copy)]
enum Column {
    Text,
    List(&'static Column),
    Struct(&'static [(&'static str, Column)]),
}

use Column::{List, Struct, Text};

const SHAREGPT: Column = Struct(&[("from", Text), ("value", Text)]);
const OPENAI: Column = List(&Struct(&[("role", Text), ("content", Text)]));
const PAIR: Column = Struct(&[("input", Text), ("output", Text)]);

/// The columns of a format.
fn columns(format: Format) -> Column {
    match format {
        Format::Alpaca | Format::BelleMultiturn => Struct(&[
            ("id", Text),
            ("system", Text),
            ("instruction", Text),
            ("input", Text),
            ("output", Text),
            ("history", List(&List(&Text))),
        ]),
        Format::ShareGpt => Struct(&[
            ("id", Text),
            ("conversations", List(&SHAREGPT)),
            ("tools", Text),
        ]),
        Format::OpenAi => Struct(&[("id", Text), ("messages", OPENAI)]),
        Format::ChineseVicuna => Struct(&[
            ("id", Text),
            ("input", List(&Text)),
            ("output", List(&Text)),
        ]),
        Format::Gpt4All => Struct(&[
            ("id", Text),
            ("prompt", Text),
            ("response", Text),
            ("source", Text),
        ]),
        Format::Pygmalion | Format::Text => Struct(&[("id", Text), ("text", Text)]),
        Format::Preference => Struct(&[
            ("id", Text),
            ("conversations", List(&SHAREGPT)),
            ("chosen", SHAREGPT),
            ("rejected", SHAREGPT),
            ("tools", Text),
        ]),
        Format::PreferencePrompt => Struct(&[
            ("id", Text),
            ("prompt", OPENAI),
            ("chosen", OPENAI),
            ("rejected", OPENAI),
        ]),
        Format::Belle => Struct(&[
            ("id", Text),
            ("instruction", Text),
            ("input", Text),
            ("target", Text),
        ]),
        Format::SelfInstruct => Struct(&[
            ("id", Text),
            ("name", Text),
            ("instruction", Text),
            ("instances", List(&PAIR)),
        ]),
    }
}

impl Column {
    /// Whether the value can stand in this column as it is.
    fn fits(self, value: &Value) -> bool {
        match (self, value) {
            (Text, Value::String(_)) | (Struct(_), Value::Object(_)) => true,
            (List(column), Value::Array(values)) => values.iter().all(|value| column.fits(value)),
            _ => false,
        }
    }

    fn array(self, values: &[Option<&Value>]) -> std::result::Result<ArrayRef, ArrowError> {
        let valid: Vec<bool> = values.iter().map(Option::is_some).collect();
        let nulls = Some(NullBuffer::from(valid));
        Ok(match self {
            Text => {
                let texts = values.iter().map(|value| value.and_then(Value::as_str));
                Arc::new(texts.collect::<StringArray>())
            }
            List(column) => {
                let lists: Vec<&[Value]> = values
                    .iter()
                    .map(|value| {
                        value
                            .and_then(Value::as_array)
                            .map_or(&[][..], Vec::as_slice)
                    })
                    .collect();
                let offsets = OffsetBuffer::from_lengths(lists.iter().map(|list| list.len()));
                let elements: Vec<Option<&Value>> = lists.into_iter().flatten().map(Some).collect();
                let elements = column.array(&elements)?;
                let field = Field::new_list_field(elements.data_type().clone(), true);
                Arc::new(ListArray::try_new(
                    Arc::new(field),
                    offsets,
                    elements,
                    nulls,
                )?)
            }
            Struct(columns) => Arc::new(structs(columns, values, nulls)?),
        })
    }
}

/// Objects: what fits its column there, all else as JSON in the column for it.
fn structs(
    columns: &[(&'static str, Column)],
    values: &[Option<&Value>],
    nulls: Option<NullBuffer>,
) -> std::result::Result<StructArray, ArrowError> {
    let mut arrays = Vec::with_capacity(columns.len() + 1);
    let mut fields = Vec::with_capacity(columns.len() + 1);
    for (name, column) in columns {
        let own = values.iter().map(|value| {
            let own = value.and_then(|value| value.get(name));
            own.filter(|own| column.fits(own))
        });
        let array = column.array(&own.collect::<Vec<_>>())?;
        fields.push(Field::new(*name, array.data_type().clone(), true));
        arrays.push(array);
    }
    let extra = values.iter().map(|value| {
        let mut rest = value.and_then(Value::as_object)?.clone();
        rest.retain(|name, value| {
            let column = columns.iter().find(|(column, _)| column == name);
            column.is_none_or(|(_, column)| !column.fits(value))
        });
        (!rest.is_empty()).then(|| Value::Object(rest).to_string())
    });
    arrays.push(Arc::new(extra.collect::<StringArray>()));
    fields.push(Field::new(EXTRA, DataType::Utf8, true));
    StructArray::try_new(Fields::from(fields), arrays, nulls)
}

/// Writes JSON values of one format as a Parquet file.
pub(super) struct ParquetFile {
    path: PathBuf,
    format: Format,
    writer: ArrowWriter<File>,
    rows: Vec<Value>,
    /// Bytes of text in `rows`.
    bytes: usize,
}

impl ParquetFile {
    /// Errors name `path`.
    pub(super) fn new(path: &Path, file: File, format: Format) -> Result<Self> {
        let broken = |error: String| failed(path, error);
        let schema = batch(format, &[]).map_err(|error| broken(error.to_string()))?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .build();
        let writer = ArrowWriter::try_new(file, schema.schema(), Some(properties))
            .map_err(|error| broken(error.to_string()))?;
        Ok(Self {
            path: path.to_owned(),
            format,
            writer,
            rows: Vec::with_capacity(BATCH),
            bytes: 0,
        })
    }

    pub(super) fn write(&mut self, value: Value) -> Result<()> {
        self.bytes += text_bytes(&value);
        self.rows.push(value);
        if self.rows.len() == BATCH || self.bytes > BATCH_BYTES {
            self.flush()?;
        }
        Ok(())
    }

    fn flush(&mut self) -> Result<()> {
        let rows = std::mem::take(&mut self.rows);
        self.bytes = 0;
        let batch = batch(self.format, &rows).map_err(|error| failed(&self.path, error))?;
        let mut written = self.writer.write(&batch);
        if self.writer.in_progress_size() > ROW_GROUP {
            written = written.and_then(|()| self.writer.flush());
        }
        written.map_err(|error| failed(&self.path, error))
    }

    /// Writes what is left, and the file's end; gives the file.
    pub(super) fn finish(mut self) -> Result<File> {
        self.flush()?;
        let path = self.path;
        self.writer
            .into_inner()
            .map_err(|error| failed(&path, error))
    }
}

fn text_bytes(value: &Value) -> usize {
    match value {
        Value::String(text) => text.len(),
        Value::Array(values) => values.iter().map(text_bytes).sum(),
        Value::Object(fields) => fields.values().map(text_bytes).sum(),
        _ => 0,
    }
}

fn batch(format: Format, rows: &[Value]) -> std::result::Result<RecordBatch, ArrowError> {
    let Struct(columns) = columns(format) else {
        return Err(ArrowError::SchemaError("a format is its columns".into()));
    };
    let rows: Vec<Value> = rows.iter().map(|row| as_lists(format, row)).collect();
    let rows: Vec<Option<&Value>> = rows.iter().map(Some).collect();
    Ok(structs(columns, &rows, None)?.into())
}

/// Of prompt and answers that are texts, the lists of one message, since a column has one type.
fn as_lists(format: Format, row: &Value) -> Value {
    let mut row = row.clone();
    if format == Format::PreferencePrompt {
        for (name, role) in [
            ("prompt", "user"),
            ("chosen", "assistant"),
            ("rejected", "assistant"),
        ] {
            if let Some(Value::String(text)) = row.get(name) {
                row[name] = serde_json::json!([{"role": role, "content": text}]);
            }
        }
    }
    row
}
