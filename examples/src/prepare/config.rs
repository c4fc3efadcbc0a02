//! Flags from a file.

use std::ffi::OsString;
use std::fs;
use std::path::Path;

use anyhow::{Context, Result, anyhow, bail};
use clap::Command;
use serde_json::{Map, Value};

/// The key of the files' names, which are no flag.
const INPUT: &str = "input";

/// The arguments with those of `--config FILE` in place of it. A flag that is also given by itself counts
/// instead of the file's; so do FILES, which `command` tells from the values of flags.
pub(super) fn expand(
    command: Command,
    args: impl IntoIterator<Item = OsString>,
) -> Result<Vec<OsString>> {
    let mut args: Vec<OsString> = args.into_iter().collect();
    let at = |arg: &OsString| arg == "--config" || starts_with(arg, "--config=");
    let Some(place) = args.iter().position(at) else {
        return Ok(args);
    };
    let given = args.remove(place);
    let path: OsString = match given
        .to_str()
        .and_then(|text| text.strip_prefix("--config="))
    {
        Some(path) => path.into(),
        None if place < args.len() => args.remove(place),
        None => bail!("--config: names no file"),
    };
    let path = Path::new(&path);
    let text = fs::read_to_string(path).with_context(|| path.display().to_string())?;
    let keys: Map<String, Value> =
        serde_saphyr::from_str(&text).map_err(|error| anyhow!("{}: {error}", path.display()))?;
    let names_files = names_files(command, &args);
    for (key, value) in &keys {
        if key == INPUT && names_files {
            continue;
        }
        let flag = format!("--{}", key.replace('_', "-"));
        let itself = |arg: &OsString| *arg == *flag || starts_with(arg, &format!("{flag}="));
        if key != INPUT && args.iter().any(itself) {
            continue;
        }
        let values = match value {
            // A list of mappings is one value, such as steps.
            Value::Array(values) if !values.iter().any(Value::is_object) => &values[..],
            value => std::slice::from_ref(value),
        };
        for value in values {
            let text = match (key.as_str(), value) {
                (INPUT, Value::String(text)) => {
                    args.push(text.into());
                    continue;
                }
                (INPUT, _) => bail!("{}: input: expected names of files", path.display()),
                (_, Value::Bool(true)) => {
                    args.push(flag.clone().into());
                    continue;
                }
                (_, Value::Bool(false) | Value::Null) => continue,
                (_, Value::String(text)) => text.clone(),
                // JSON is YAML.
                (_, value) => value.to_string(),
            };
            args.push(format!("{flag}={text}").into());
        }
    }
    Ok(args)
}

/// Whether the arguments name files to read.
fn names_files(command: Command, args: &[OsString]) -> bool {
    // What is missing may be in the file.
    let matches = command.ignore_errors(true).try_get_matches_from(args);
    let Ok(matches) = matches else { return false };
    let given = matches.subcommand().map(|(_, given)| given);
    given.is_some_and(|given| {
        let files = given.try_get_raw(INPUT).ok().flatten();
        files.is_some_and(|mut files| files.next().is_some())
    })
}

fn starts_with(arg: &OsString, prefix: &str) -> bool {
    arg.to_str().is_some_and(|arg| arg.starts_with(prefix))
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::super::Options;
    use super::*;

    fn expanded(yaml: &str, more: &[&str]) -> Result<Vec<String>> {
        let dir = tempfile::tempdir()?;
        let path = dir.path().join("prepare.yaml");
        fs::write(&path, yaml)?;
        let args = ["prepare_data", "clean", "--config"]
            .map(OsString::from)
            .into_iter();
        let args = args
            .chain([path.into_os_string()])
            .chain(more.iter().map(OsString::from));
        let args = expand(Options::command(), args)?.into_iter();
        Ok(args
            .skip(2)
            .filter_map(|arg| arg.into_string().ok())
            .collect())
    }

    #[test]
    fn keys_are_flags_and_flags_win() {
        let yaml = "input: [a.json, b.json]\nout: c.json\nskip_bad: true\ncount-losses: false\n\
                    near: 0.9\nsteps:\n- step: length\n  min_words: 3\n";
        let flags = expanded(yaml, &["--out", "d.json"]).expect("a file of flags");
        let steps = r#"--steps=[{"step":"length","min_words":3}]"#;
        let expected = [
            "--out",
            "d.json",
            "a.json",
            "b.json",
            "--skip-bad",
            "--near=0.9",
            steps,
        ];
        assert_eq!(flags, expected);
    }

    #[test]
    fn files_that_are_named_count_instead_of_the_files() {
        let yaml = "input: a.json\npreset: fastchat\n";
        let flags = expanded(yaml, &["--out", "o.json", "--skip-bad", "b.json"]);
        let expected = [
            "--out",
            "o.json",
            "--skip-bad",
            "b.json",
            "--preset=fastchat",
        ];
        assert_eq!(flags.expect("a file of flags"), expected);
        // The value of a flag is no file.
        let flags = expanded(yaml, &["--out", "o.json"]).expect("a file of flags");
        assert_eq!(flags, ["--out", "o.json", "a.json", "--preset=fastchat"]);
    }

    #[test]
    fn what_is_no_mapping_is_refused() {
        for yaml in ["- a", "3", "input: 7", "input: [{}]", "a: &a [*a]"] {
            assert!(expanded(yaml, &[]).is_err(), "{yaml}");
        }
        let expand = |args: [&str; 2]| expand(Options::command(), args.map(OsString::from));
        assert!(expand(["x", "--config"]).is_err());
        let absent = expand(["x", "--config=/absent.yaml"]);
        assert!(absent.is_err_and(|error| error.to_string().contains("/absent.yaml")));
    }
}
