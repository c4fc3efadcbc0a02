//! The count of work that the engine does within one of its steps: sorting a list, comparing two.
//!
//! A step may handle a list of a hundred thousand items or a text of megabytes, and a template has
//! hundreds of thousands of steps. So what they handle is counted as text is.

use minijinja::value::{Kwargs, Rest, Value, ValueKind};
use minijinja::{Environment, Error, State, filters, tests};

use super::MAX_TEXT;
use super::bounded::COMPARED;
use super::functions::{charge, charge_items};

/// What a value within a list or a mapping counts as.
const BYTES_PER_VALUE: usize = 16;
/// Bytes of text that count as one where texts are only compared.
const COMPARED_BYTES: usize = 16;
/// How often a value counts in a list that is brought into order.
const COMPARISONS: usize = 8;
/// What an item of a list made to a given length counts as.
const BYTES_PER_SLOT: usize = 64;

type Result<T> = std::result::Result<T, Error>;

pub(super) fn register(environment: &mut Environment<'static>) {
    environment.add_filter(COMPARED, |state: &mut State, value: Value| {
        charge_values(state, &value).map(|()| value)
    });
    for (name, filter) in [
        ("lower", Value::from_function(filters::lower)),
        ("upper", Value::from_function(filters::upper)),
        ("title", Value::from_function(filters::title)),
        ("capitalize", Value::from_function(filters::capitalize)),
        ("trim", Value::from_function(filters::trim)),
        ("split", Value::from_function(filters::split)),
        ("lines", Value::from_function(filters::lines)),
        ("escape", Value::from_function(filters::escape)),
        ("e", Value::from_function(filters::escape)),
    ] {
        environment.add_filter(
            name,
            move |state: &mut State, args: Rest<Value>, named: Kwargs| {
                args.iter().try_for_each(|arg| charge_items(state, arg))?;
                filter.call(state, &all(args, named))
            },
        );
    }
    for name in ["length", "count"] {
        environment.add_filter(name, |state: &mut State, value: &Value| {
            charge(state, value.as_str().map_or(0, str::len))?;
            filters::length(value)
        });
    }
    register_lists(environment);
    register_tests(environment);
}

fn register_lists(environment: &mut Environment<'static>) {
    for (name, filter) in [
        ("items", Value::from_function(filters::items)),
        ("reverse", Value::from_function(filters::reverse)),
        ("min", Value::from_function(filters::min)),
        ("max", Value::from_function(filters::max)),
        ("sum", Value::from_function(filters::sum)),
        ("select", Value::from_function(filters::select)),
        ("reject", Value::from_function(filters::reject)),
        ("selectattr", Value::from_function(filters::selectattr)),
        ("rejectattr", Value::from_function(filters::rejectattr)),
        ("map", Value::from_function(filters::map)),
        ("chain", Value::from_function(filters::chain)),
        ("zip", Value::from_function(filters::zip)),
        ("dictsort", Value::from_function(filters::dictsort)),
        ("sort", Value::from_function(filters::sort)),
        ("groupby", Value::from_function(filters::groupby)),
        ("unique", Value::from_function(filters::unique)),
        ("batch", Value::from_function(filters::batch)),
        ("slice", Value::from_function(filters::slice)),
    ] {
        let sorts = matches!(name, "dictsort" | "sort" | "groupby" | "unique");
        let makes = matches!(name, "batch" | "slice");
        let work = move |state: &mut State, args: Rest<Value>, named: Kwargs| {
            for arg in &*args {
                for _ in 0..if sorts { COMPARISONS } else { 1 } {
                    charge_values(state, arg)?;
                }
                let slots = arg.as_usize().filter(|_| makes).unwrap_or(0);
                charge(state, slots.saturating_mul(BYTES_PER_SLOT))?;
            }
            filter.call(state, &all(args, named))
        };
        environment.add_filter(name, work);
    }
}

/// The arguments as a function is called with them.
fn all(args: Rest<Value>, named: Kwargs) -> Vec<Value> {
    let mut all = args.0;
    if named.args().next().is_some() {
        all.push(named.into());
    }
    all
}

/// The tests that compare, by all their names.
fn register_tests(environment: &mut Environment<'static>) {
    let tests: [(&[&str], Value); 7] = [
        (&["eq", "equalto", "=="], Value::from_function(tests::is_eq)),
        (&["ne", "!="], Value::from_function(tests::is_ne)),
        (&["lt", "lessthan", "<"], Value::from_function(tests::is_lt)),
        (&["le", "<="], Value::from_function(tests::is_le)),
        (
            &["gt", "greaterthan", ">"],
            Value::from_function(tests::is_gt),
        ),
        (&["ge", ">="], Value::from_function(tests::is_ge)),
        (&["in"], Value::from_function(tests::is_in)),
    ];
    for (names, test) in tests {
        for name in names {
            let test = test.clone();
            environment.add_test(*name, move |state: &mut State, args: Rest<Value>| {
                args.iter().try_for_each(|arg| charge_values(state, arg))?;
                test.call(state, &args).map(|value| value.is_true())
            });
        }
    }
}

/// Counts a value that is about to be looked at, with all that is in it.
fn charge_values(state: &mut State, value: &Value) -> Result<()> {
    let mut bytes = 0;
    count(value, &mut bytes);
    charge(state, bytes)
}

/// Ends where the limit is passed: few values can hold each other many times.
fn count(value: &Value, bytes: &mut usize) {
    *bytes += BYTES_PER_VALUE;
    if *bytes > MAX_TEXT {
        return;
    }
    match value.kind() {
        ValueKind::String => *bytes += value.as_str().map_or(0, str::len) / COMPARED_BYTES,
        ValueKind::Seq => {
            for item in value.try_iter().into_iter().flatten() {
                count(&item, bytes);
                if *bytes > MAX_TEXT {
                    return;
                }
            }
        }
        ValueKind::Map => {
            for key in value.try_iter().into_iter().flatten() {
                count(&key, bytes);
                count(&value.get_item(&key).unwrap_or_default(), bytes);
                if *bytes > MAX_TEXT {
                    return;
                }
            }
        }
        // Not iterated, which some can be once only; their items are numbers or come from lists
        // that are counted.
        _ => *bytes += value.len().unwrap_or(0).saturating_mul(BYTES_PER_VALUE),
    }
}
