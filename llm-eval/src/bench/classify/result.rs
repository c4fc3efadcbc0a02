//! Classification among the other tasks' results.

use serde_json::{Map, Value, json};

use super::{Classification, Classifier, Labelled, Style};
use crate::bench::filter::INVALID;
use crate::bench::{Estimate, Sample, TaskResult};

impl Classifier {
    /// The name of the task in results: `classification_sentiment`.
    pub fn task_name(&self) -> String {
        format!("classification_{}", self.subject.replace(' ', "_"))
    }

    /// The figures as a task's result: the metrics `acc` and `f1_macro`, and further `labels`,
    /// `confusion_matrix` (a row for each true label) and `unparsable_by_label`.
    pub fn task_result(&self, texts: &[Labelled], figures: &Classification) -> TaskResult {
        let samples = texts.iter().zip(self.requests(texts)).enumerate();
        let samples = samples.map(|(doc_id, (text, request))| {
            let predicted = figures.predicted[doc_id];
            let answered = !matches!(figures.replies.get(doc_id), Some(None));
            let label = predicted.map_or(INVALID, |label| &*self.labels[label]);
            let right = label.to_lowercase() == text.label.to_lowercase();
            let settings = json!({"until": request.until, "do_sample": false, "temperature": 0.0,
                "max_gen_toks": request.max_tokens});
            Sample {
                doc_id,
                doc: json!(text),
                target: text.label.clone(),
                arguments: vec![[json!(request.context), settings]],
                resps: json!([[figures.replies.get(doc_id)]]),
                filtered_resps: json!([answered.then_some(label)]),
                filter: "none",
                metrics: match answered {
                    true => vec![("acc", f64::from(u8::from(right)))],
                    false => Vec::new(),
                },
                predicted,
                parsed: predicted.is_some(),
            }
        });
        let no_reply = figures.replies.iter().filter(|r| r.is_none()).count();
        let f1 = Estimate {
            value: figures.macro_f1,
            stderr: None,
        };
        TaskResult {
            name: self.task_name(),
            alias: self.subject.clone(),
            config: self.config(),
            version: 0.0,
            num_fewshot: self.shots.len(),
            original: texts.len(),
            sample_len: texts.len() - no_reply,
            no_reply,
            metrics: vec![
                ("acc,none".to_owned(), figures.accuracy),
                ("f1_macro,none".to_owned(), f1),
            ],
            unparsable: vec![("none", figures.unparsable.iter().sum())],
            extra: self.extra(figures),
            samples: samples.collect(),
        }
    }

    fn config(&self) -> Value {
        json!({
            "task": self.task_name(), "task_alias": self.subject, "output_type": "generate_until",
            "style": match self.style {
                Style::Direct => "direct",
                Style::ChainOfClues => "chain_of_clues",
            },
            "num_fewshot": self.shots.len(), "max_gen_toks": self.max_tokens,
        })
    }

    fn extra(&self, figures: &Classification) -> Map<String, Value> {
        let extra = [
            ("labels", json!(self.labels)),
            ("confusion_matrix", json!(figures.confusion)),
            ("unparsable_by_label", json!(figures.unparsable)),
        ];
        extra
            .map(|(key, value)| (key.to_owned(), value))
            .into_iter()
            .collect()
    }
}
