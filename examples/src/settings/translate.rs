//! axolotl's keys that are not a setting each: several for one, or of another kind.

use serde::Deserialize;
use serde_json::{Map, Value};

use llm_data::Format;

use super::dataset::Dataset;
use super::file::{Reader, is_set};
use super::keys::VOCABULARY;
use crate::cli::Precision;

/// Optimizers that compute what AdamW in 32 bits computes.
const OPTIMIZERS: [&str; 3] = ["adamw_torch", "adamw_torch_fused", "paged_adamw_32bit"];

impl Reader {
    /// Reads the keys that are not a setting each.
    pub(super) fn translate(&mut self) {
        self.adapter();
        self.quantization();
        self.precision();
        self.targets();
        self.templates();
        if let Some((line, packs)) = self.typed("sample_packing") {
            let packing = if packs { "pack" } else { "none" };
            self.set((line, "sample_packing"), "packing", packing);
        }
        if let Some((line, shuffles)) = self.typed::<bool>("shuffle_merged_datasets") {
            self.set((line, "shuffle_merged_datasets"), "no_shuffle", !shuffles);
        }
        if let Some((line, schedule)) = self.typed::<String>("schedule") {
            // Files of the time when this was the key had no other constant rate.
            let schedule = match schedule.as_str() {
                "constant" => "constant_with_warmup",
                other => other,
            };
            self.set((line, "schedule"), "schedule", schedule);
        }
        if let Some((line, name)) = self.typed::<String>("optimizer")
            && !OPTIMIZERS.contains(&name.as_str())
        {
            let known = OPTIMIZERS.join(", ");
            let text =
                format!("the optimizer is AdamW with states in 32 bits ({known}), got {name}");
            self.problem(line, "optimizer", text);
        }
        if let Some((line, tokens)) = self.typed::<Map<String, Value>>("special_tokens")
            // Nothing is padded with a token that the model sees.
            && tokens.iter().any(|(name, token)| name != "pad_token" && is_set(token))
        {
            self.problem(
                line,
                "special_tokens",
                format!("not supported: {VOCABULARY}"),
            );
        }
    }

    /// `adapter`: empty means all weights, as in axolotl.
    fn adapter(&mut self) {
        let Some((line, value)) = self.take("adapter") else {
            return;
        };
        let [full, qlora] = match value.as_str() {
            None if value.is_null() => [true, false],
            Some("lora") => [false, false],
            Some("qlora") => [false, true],
            _ => {
                let text = format!("expected lora, qlora or nothing (all weights), got {value}");
                return self.problem(line, "adapter", text);
            }
        };
        self.set((line, "adapter"), "full", full);
        self.set((line, "adapter"), "qlora", qlora);
    }

    /// `load_in_4bit`, `load_in_8bit`, `bnb_config_kwargs`.
    fn quantization(&mut self) {
        const KEYS: [&str; 3] = ["load_in_4bit", "load_in_8bit", "bnb_config_kwargs"];
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Options {
            bnb_4bit_quant_type: Option<FourBits>,
            bnb_4bit_use_double_quant: Option<bool>,
        }
        let [four, eight] = [KEYS[0], KEYS[1]].map(|key| self.typed::<bool>(key));
        let options = self.typed::<Options>(KEYS[2]);
        if let Some((line, options)) = &options
            && let Some(double) = options.bnb_4bit_use_double_quant
        {
            self.set((*line, KEYS[2]), "no_double_quantization", !double);
        }
        let chosen = options.and_then(|(line, options)| Some((line, options.bnb_4bit_quant_type?)));
        let format = match chosen {
            Some((_, FourBits::Fp4)) => "fp4",
            _ => "nf4",
        };
        let is_qlora = self.field("qlora") == Some(&Value::Bool(true));
        match (four, eight, chosen) {
            (Some((line, true)), Some((_, true)), _) => {
                self.problem(line, KEYS[0], "not together with load_in_8bit");
            }
            (Some((line, false)), ..) if is_qlora => {
                self.problem(line, KEYS[0], "adapter: qlora is four bits");
            }
            (Some((line, true)), ..) => self.set((line, KEYS[0]), "quantize", format),
            (_, Some((line, true)), _) => self.set((line, KEYS[1]), "quantize", "int8"),
            (Some((line, false)), ..) => self.set((line, KEYS[0]), "quantize", Value::Null),
            (None, _, Some((line, _))) => self.set((line, KEYS[2]), "quantize", format),
            (None, Some((line, false)), None) => {
                self.set((line, KEYS[1]), "quantize", Value::Null);
            }
            (None, None, None) => {}
        }
    }

    /// `bf16`, `fp16` and their like: the one that is true, else what `bf16` says.
    fn precision(&mut self) {
        let mut chosen: Option<(u64, &str, Precision)> = None;
        let mut off = None;
        for (key, precision) in [
            ("bf16", Precision::Bf16),
            ("bfloat16", Precision::Bf16),
            ("fp16", Precision::F16),
            ("float16", Precision::F16),
            ("float32", Precision::F32),
        ] {
            let Some((line, value)) = self.take(key) else {
                continue;
            };
            let precision = match &value {
                Value::Bool(true) => precision,
                Value::String(text) if text == "full" && key == "bf16" => precision,
                Value::String(text) if text == "auto" && key == "bf16" => Precision::Auto,
                Value::Bool(false) => {
                    off = off.or((key == "bf16").then_some((line, key, Precision::F32)));
                    continue;
                }
                Value::Null => continue,
                _ => {
                    let text = format!("expected true, false or (bf16) auto, got {value}");
                    self.problem(line, key, text);
                    continue;
                }
            };
            match chosen {
                Some((_, other, already)) if already != precision => {
                    self.problem(
                        line,
                        key,
                        format!("`{other}` says otherwise; keep one of them"),
                    );
                }
                _ => chosen = Some((line, key, precision)),
            }
        }
        if let Some((line, key, precision)) = chosen.or(off) {
            let precision = serde_json::to_value(precision).unwrap_or_default();
            self.set((line, key), "precision", precision);
        }
    }

    /// Modules, as a list or as flags spell them.
    fn targets(&mut self) {
        if let Some((line, true)) = self.typed("lora_target_linear") {
            self.set((line, "lora_target_linear"), "target_modules", "all-linear");
        }
        for key in ["lora_target_modules", "target_modules"] {
            if let Some((line, names)) = self.typed::<Names>(key) {
                self.set((line, key), "target_modules", names.list().join(","));
            }
        }
        for key in ["lora_modules_to_save", "modules_to_save"] {
            if let Some((line, names)) = self.typed::<Names>(key) {
                self.set((line, key), "modules_to_save", names.list());
            }
        }
        if let Some((line, names)) = self.typed::<Names>("check_against") {
            let paths = match names {
                Names::One(path) => vec![path],
                Names::Many(paths) => paths,
            };
            self.set((line, "check_against"), "check_against", paths);
        }
    }

    /// `datasets` and `chat_template`, which some of axolotl's types of data sets imply.
    fn templates(&mut self) {
        for key in ["chat_template", "template"] {
            match self.typed::<String>(key) {
                Some((line, name)) if name == "tokenizer_default" => {
                    self.set((line, key), "template", "model");
                }
                Some((line, name)) if name == "tokenizer_default_fallback_alpaca" => {
                    self.set((line, key), "template", Value::Null);
                }
                Some((line, name)) => self.set((line, key), "template", name),
                None => {}
            }
        }
        for (key, field) in [
            ("datasets", "data"),
            ("data", "data"),
            ("test_datasets", "test_data"),
            ("test_data", "test_data"),
        ] {
            let Some((line, value)) = self.take(key) else {
                continue;
            };
            let entries = match value {
                Value::Null => continue,
                Value::Array(entries) => entries,
                one => vec![one],
            };
            let mut datasets = Vec::new();
            for entry in &entries {
                match dataset(entry) {
                    Ok((dataset, template)) => {
                        datasets.push(dataset);
                        self.implied(line, key, template);
                    }
                    Err(problem) => self.problem(line, key, problem),
                }
            }
            let datasets = serde_json::to_value(datasets).unwrap_or_default();
            self.set((line, key), field, datasets);
        }
    }

    /// Sets the template that a data set's type implies.
    fn implied(&mut self, line: u64, key: &str, template: Option<&str>) {
        let Some(template) = template else { return };
        match self.field("template").and_then(Value::as_str) {
            None => self.set((line, key), "template", template),
            Some(other) if other == template => {}
            Some(other) => {
                let text = format!("a type implies the template {template}, but it is {other}");
                self.problem(line, key, text);
            }
        }
    }
}

/// bitsandbytes' types of four bits.
#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "lowercase")]
enum FourBits {
    Nf4,
    Fp4,
}

/// A list of names, or names with commas between.
#[derive(Deserialize)]
#[serde(untagged)]
enum Names {
    One(String),
    Many(Vec<String>),
}

impl Names {
    fn list(self) -> Vec<String> {
        match self {
            Self::One(text) => text.split(',').map(|name| name.trim().to_owned()).collect(),
            Self::Many(names) => names,
        }
    }
}

/// An entry of `datasets`, and the template that its type implies: a path as flags spell it, or axolotl's
/// mapping.
fn dataset(entry: &Value) -> Result<(Dataset, Option<&'static str>), String> {
    let object = match entry {
        Value::String(path) => return Ok((std::ffi::OsString::from(path).into(), None)),
        Value::Object(object) => object,
        other => return Err(format!("expected a path, or path and type, got {other}")),
    };
    let text = |key: &str| match object.get(key) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.as_str())),
        Some(other) => Err(format!("{key}: expected a text, got {other}")),
    };
    let path = text("path")?.ok_or("path: missing")?;
    let (format, template) = match text("type")? {
        None => (None, None),
        Some("alpaca:instruct") => (Some(Format::Alpaca), Some("alpaca-lora")),
        Some("alpaca:chatml") => (Some(Format::Alpaca), Some("chatml")),
        Some("chat_template") => (None, Some("model")),
        Some(name) => {
            let format = Format::by_name(name).map_err(|error| {
                format!("type: {error}, alpaca:instruct, alpaca:chatml, chat_template")
            })?;
            (Some(format), None)
        }
    };
    if !matches!(text("ds_type")?, None | Some("json" | "parquet" | "text")) {
        return Err("ds_type: files are JSON, JSONL, Parquet or text".to_owned());
    }
    let known = ["path", "type", "ds_type"];
    let other = object
        .iter()
        .find(|(key, value)| !known.contains(&key.as_str()) && is_set(value));
    if let Some((key, _)) = other {
        return Err(format!(
            "{key}: not supported; a data set is a path and a type"
        ));
    }
    let path = path.into();
    Ok((Dataset { path, format }, template))
}
