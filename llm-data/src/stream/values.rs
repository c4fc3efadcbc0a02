//! Values of Parquet's columns as JSON.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use arrow_array::cast::AsArray;
use arrow_array::types::{
    Date32Type, Date64Type, Decimal32Type, Decimal64Type, Decimal128Type, Decimal256Type,
    Float16Type, Float32Type, Float64Type, Int8Type, Int16Type, Int32Type, Int64Type,
    Time32MillisecondType, Time32SecondType, Time64MicrosecondType, Time64NanosecondType,
    TimestampMicrosecondType, TimestampMillisecondType, TimestampNanosecondType,
    TimestampSecondType, UInt8Type, UInt16Type, UInt32Type, UInt64Type,
};
use arrow_array::{Array, ArrayRef, MapArray, StructArray};
use arrow_schema::{DataType, TimeUnit};
use serde_json::{Map, Value};

use super::parquet::EXTRA;

/// Whether values of this type have a form in JSON; those of a struct, if a field's have one.
pub(super) fn has_form(kind: &DataType) -> bool {
    match kind {
        DataType::List(field)
        | DataType::LargeList(field)
        | DataType::ListView(field)
        | DataType::LargeListView(field)
        | DataType::FixedSizeList(field, _) => has_form(field.data_type()),
        DataType::Struct(fields) => fields.iter().any(|field| has_form(field.data_type())),
        DataType::Map(entries, _) => match entries.data_type() {
            DataType::Struct(fields) => {
                fields.len() == 2
                    && is_text(fields[0].data_type())
                    && has_form(fields[1].data_type())
            }
            _ => false,
        },
        DataType::Dictionary(_, values) => has_form(values),
        DataType::Date32 | DataType::Date64 | DataType::Timestamp(_, _) => true,
        DataType::Time32(_) | DataType::Time64(_) => true,
        DataType::Null | DataType::Boolean => true,
        other => is_text(other) || other.is_integer() || other.is_floating() || other.is_decimal(),
    }
}

/// Whether values of this type are texts, or bytes that may be some.
fn is_text(kind: &DataType) -> bool {
    match kind {
        DataType::Utf8 | DataType::LargeUtf8 | DataType::Utf8View => true,
        DataType::Binary | DataType::LargeBinary | DataType::BinaryView => true,
        DataType::Dictionary(_, values) => is_text(values),
        _ => false,
    }
}

/// Why there is no JSON.
enum NoValue {
    /// The value has no form in it.
    NoForm,
    /// The text of the column `__extra` is broken.
    Extra(serde_json::Error),
}

type Read = Result<Value, NoValue>;

/// Reads values, and warns once of each column that has none.
pub(super) struct Values {
    path: PathBuf,
    warned: BTreeSet<String>,
}

impl Values {
    pub(super) fn new(path: &Path) -> Self {
        Self {
            path: path.to_owned(),
            warned: BTreeSet::new(),
        }
    }

    /// Warns of a column, or a field within one, that has no value in JSON.
    pub(super) fn passed_over(&mut self, name: &str, kind: &DataType) {
        if !self.warned.contains(name) {
            self.warned.insert(name.to_owned());
            let path = self.path.display();
            tracing::warn!(%path, column = name, "passed over, as JSON has not all values of {kind}");
        }
    }

    /// A row's fields without those that are null.
    pub(super) fn object(&mut self, array: &StructArray, row: usize) -> serde_json::Result<Value> {
        let mut map = Map::new();
        for (field, column) in array.fields().iter().zip(array.columns()) {
            let value = match has_form(field.data_type()) {
                true => self.value(column, row),
                false => Err(NoValue::NoForm),
            };
            match value {
                Ok(Value::Null) => {}
                Ok(Value::String(json)) if field.name() == EXTRA => {
                    map.extend(serde_json::from_str::<Map<String, Value>>(&json)?);
                }
                Ok(value) => {
                    map.insert(field.name().clone(), value);
                }
                Err(NoValue::NoForm) => self.passed_over(field.name(), field.data_type()),
                Err(NoValue::Extra(error)) => return Err(error),
            }
        }
        Ok(Value::Object(map))
    }

    fn value(&mut self, array: &ArrayRef, row: usize) -> Read {
        if array.is_null(row) {
            return Ok(Value::Null);
        }
        match array.data_type() {
            DataType::List(_) => self.list(&array.as_list::<i32>().value(row)),
            DataType::LargeList(_) => self.list(&array.as_list::<i64>().value(row)),
            DataType::ListView(_) => self.list(&array.as_list_view::<i32>().value(row)),
            DataType::LargeListView(_) => self.list(&array.as_list_view::<i64>().value(row)),
            DataType::FixedSizeList(_, _) => self.list(&array.as_fixed_size_list().value(row)),
            DataType::Struct(_) => {
                let object = self.object(array.as_struct(), row);
                object.map_err(NoValue::Extra)
            }
            DataType::Map(_, _) => self.map(array.as_map(), row),
            DataType::Dictionary(_, _) => {
                let dictionary = array.as_any_dictionary();
                let key = dictionary.normalized_keys()[row];
                self.value(dictionary.values(), key)
            }
            _ => scalar(array, row).ok_or(NoValue::NoForm),
        }
    }

    fn list(&mut self, values: &ArrayRef) -> Read {
        (0..values.len())
            .map(|row| self.value(values, row))
            .collect()
    }

    /// An object of the entries whose value is not null.
    fn map(&mut self, array: &MapArray, row: usize) -> Read {
        let entries = array.value(row);
        let (keys, values) = (entries.column(0), entries.column(1));
        let mut map = Map::new();
        for entry in 0..entries.len() {
            match (self.value(keys, entry)?, self.value(values, entry)?) {
                (_, Value::Null) => {}
                (Value::String(key), value) => {
                    map.insert(key, value);
                }
                _ => return Err(NoValue::NoForm),
            }
        }
        Ok(Value::Object(map))
    }
}

/// A value that holds no others.
fn scalar(array: &ArrayRef, row: usize) -> Option<Value> {
    macro_rules! number {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value(row).into()
        };
    }
    macro_rules! decimal {
        ($kind:ty) => {
            array.as_primitive::<$kind>().value_as_string(row).into()
        };
    }
    let bytes = |bytes: &[u8]| std::str::from_utf8(bytes).ok().map(Value::from);
    Some(match array.data_type() {
        DataType::Null => Value::Null,
        DataType::Boolean => array.as_boolean().value(row).into(),
        DataType::Int8 => number!(Int8Type),
        DataType::Int16 => number!(Int16Type),
        DataType::Int32 => number!(Int32Type),
        DataType::Int64 => number!(Int64Type),
        DataType::UInt8 => number!(UInt8Type),
        DataType::UInt16 => number!(UInt16Type),
        DataType::UInt32 => number!(UInt32Type),
        DataType::UInt64 => number!(UInt64Type),
        DataType::Float16 => array
            .as_primitive::<Float16Type>()
            .value(row)
            .to_f32()
            .into(),
        DataType::Float32 => number!(Float32Type),
        DataType::Float64 => number!(Float64Type),
        DataType::Decimal32(_, _) => decimal!(Decimal32Type),
        DataType::Decimal64(_, _) => decimal!(Decimal64Type),
        DataType::Decimal128(_, _) => decimal!(Decimal128Type),
        DataType::Decimal256(_, _) => decimal!(Decimal256Type),
        DataType::Utf8 => array.as_string::<i32>().value(row).into(),
        DataType::LargeUtf8 => array.as_string::<i64>().value(row).into(),
        DataType::Utf8View => array.as_string_view().value(row).into(),
        DataType::Binary => bytes(array.as_binary::<i32>().value(row))?,
        DataType::LargeBinary => bytes(array.as_binary::<i64>().value(row))?,
        DataType::BinaryView => bytes(array.as_binary_view().value(row))?,
        _ => time(array, row)?.into(),
    })
}

/// A day, a time of day or both in ISO 8601, which is how chrono's types are debugged. A moment of
/// a time zone is given in UTC.
fn time(array: &ArrayRef, row: usize) -> Option<String> {
    macro_rules! iso {
        ($kind:ty, $read:ident) => {
            format!("{:?}", array.as_primitive::<$kind>().$read(row)?)
        };
    }
    Some(match array.data_type() {
        DataType::Date32 => iso!(Date32Type, value_as_date),
        DataType::Date64 => iso!(Date64Type, value_as_date),
        DataType::Time32(TimeUnit::Second) => iso!(Time32SecondType, value_as_time),
        DataType::Time32(TimeUnit::Millisecond) => iso!(Time32MillisecondType, value_as_time),
        DataType::Time64(TimeUnit::Microsecond) => iso!(Time64MicrosecondType, value_as_time),
        DataType::Time64(TimeUnit::Nanosecond) => iso!(Time64NanosecondType, value_as_time),
        DataType::Timestamp(unit, zone) => {
            let moment = match unit {
                TimeUnit::Second => iso!(TimestampSecondType, value_as_datetime),
                TimeUnit::Millisecond => iso!(TimestampMillisecondType, value_as_datetime),
                TimeUnit::Microsecond => iso!(TimestampMicrosecondType, value_as_datetime),
                TimeUnit::Nanosecond => iso!(TimestampNanosecondType, value_as_datetime),
            };
            moment + if zone.is_some() { "Z" } else { "" }
        }
        _ => return None,
    })
}
