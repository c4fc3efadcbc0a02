//! Text classification by prompt: zero-shot, few-shot, and with clues (CARP, Sun et al. 2023).

mod result;

use std::collections::BTreeMap;
use std::path::Path;

use regex::Regex;
use serde::Serialize;

use super::metric::Estimate;
use super::model::{Generation, LanguageModel};
use super::table::{At, jsonl};
use crate::pattern::pattern;
use crate::{Error, Result};

/// Texts that go to the model at once.
const CHUNK: usize = 64;

/// A text and its label.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize)]
pub struct Labelled {
    /// The text.
    pub text: String,
    /// Its class, one of [`Classifier::labels`].
    pub label: String,
    /// Of an example: the clues to its label, which [`Style::ChainOfClues`] shows.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub clues: Option<String>,
    /// Of an example: the reasoning from them, likewise.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reasoning: Option<String>,
}

/// Reads JSONL with `text` and `label`, and `clues` and `reasoning` where there are some.
///
/// # Errors
/// When the file cannot be read or is empty, or a field is absent or no text.
pub fn read(path: impl AsRef<Path>) -> Result<Vec<Labelled>> {
    let path = path.as_ref();
    let mut texts = Vec::new();
    for row in jsonl(path)? {
        let at = At {
            path,
            line: row.line,
        };
        let optional = |field| Ok::<_, Error>(at.optional(&row.value, field)?.map(str::to_owned));
        texts.push(Labelled {
            text: at.text(&row.value, "text")?.to_owned(),
            label: at.text(&row.value, "label")?.to_owned(),
            clues: optional("clues")?,
            reasoning: optional("reasoning")?,
        });
    }
    match texts.is_empty() {
        true => Err(Error::Empty {
            path: path.to_owned(),
        }),
        false => Ok(texts),
    }
}

/// How the model is asked.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Style {
    /// The label alone.
    #[default]
    Direct,
    /// First clues, then the reasoning from them, then the label.
    ChainOfClues,
}

/// A task of classification.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Classifier {
    /// What is to be decided, as it stands in the prompt: `sentiment`.
    pub subject: String,
    /// The labels, two at least. They are compared without case.
    pub labels: Vec<String>,
    /// Examples before the text; none for zero-shot.
    pub shots: Vec<Labelled>,
    /// How the model is asked.
    pub style: Style,
    /// The most tokens of a reply.
    pub max_tokens: usize,
}

/// How good the labels are.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Classification {
    /// The share of right labels; a reply without a label is wrong.
    pub accuracy: Estimate,
    /// The mean over the labels of F1 = 2 TP / (2 TP + FP + FN), 0 where a label occurs in neither.
    pub macro_f1: f64,
    /// Rows by the true label, columns by the one given, in the order of the labels.
    pub confusion: Vec<Vec<usize>>,
    /// Replies without a label, by the true label.
    pub unparsable: Vec<usize>,
    /// The labels given, text by text.
    pub predicted: Vec<Option<usize>>,
    /// The replies; a text without one is in none of the figures.
    pub replies: Vec<Option<String>>,
}

impl Classifier {
    /// The prompt of a text.
    pub fn prompt(&self, text: &str) -> String {
        let (subject, labels) = (&self.subject, self.labels.join(", "));
        let name = capitalised(subject);
        let mut prompt = match self.style {
            Style::Direct => format!(
                "Decide the {subject} of the text. Answer with one of these labels alone: {labels}.\n\n"
            ),
            Style::ChainOfClues => format!(
                "This is a {subject} classifier. First, list CLUES (keywords, phrases, contextual \
                 information, semantic relations, semantic meaning, tones, references) that decide the \
                 {subject} of the text. Second, deduce the diagnostic REASONING process from the clues \
                 and the text. Third, conclude from clues, reasoning and text the {subject}, one of \
                 these labels: {labels}. End with the line `{name}: <label>`.\n\n"
            ),
        };
        for shot in &self.shots {
            prompt += &format!("Text: {}\n", shot.text);
            if self.style == Style::ChainOfClues {
                let parts = [("CLUES", &shot.clues), ("REASONING", &shot.reasoning)];
                for (part, text) in parts {
                    prompt += &text
                        .as_ref()
                        .map_or_else(String::new, |text| format!("{part}: {text}\n"));
                }
            }
            prompt += &format!("{name}: {}\n\n", shot.label);
        }
        prompt += &match self.style {
            Style::Direct => format!("Text: {text}\n{name}:"),
            Style::ChainOfClues => format!("Text: {text}\nCLUES:"),
        };
        prompt
    }

    /// The label of a reply: the last one stated behind the subject's name, or else the one label that the
    /// reply names; `None` where there is none or several are named. One that is denied ("not positive",
    /// 不积极) is not named.
    pub fn parse(&self, reply: &str) -> Option<usize> {
        let reply = reply.to_lowercase();
        let stated = format!("{}:", self.subject.to_lowercase());
        if let Some(at) = reply.rfind(&stated)
            && let Some(label) = self.first_named(&reply[at + stated.len()..])
        {
            return Some(label);
        }
        let line = reply.trim_start().lines().next().unwrap_or("");
        if self.style == Style::Direct && self.named(line).len() == 1 {
            return self.named(line).pop();
        }
        let mut named = self.named(&reply);
        named.pop().filter(|_| named.is_empty())
    }

    /// The label that the text begins with, behind white space and marks.
    fn first_named(&self, text: &str) -> Option<usize> {
        let line = text.trim_start_matches(|c: char| !c.is_alphanumeric());
        let begins = |(_, label): &(usize, &String)| {
            let rest = line.strip_prefix(&label.to_lowercase());
            rest.is_some_and(|rest| !rest.starts_with(is_ascii_word))
        };
        let found = self.labels.iter().enumerate().filter(begins);
        found
            .max_by_key(|(_, label)| label.len())
            .map(|(index, _)| index)
    }

    /// The labels that occur in a text as words of their own. One inside another (`positive` in
    /// `very positive`) counts only where it also stands alone. Those that are denied are left out.
    fn named(&self, text: &str) -> Vec<usize> {
        let mut order: Vec<usize> = (0..self.labels.len()).collect();
        order.sort_by_key(|index| std::cmp::Reverse(self.labels[*index].len()));
        let mut text = text.to_owned();
        let mut found = Vec::new();
        for index in order {
            let label = self.labels[index].to_lowercase();
            let mut from = 0;
            while let Some(at) = text[from..].find(&label).map(|at| from + at) {
                let end = at + label.len();
                let before = text[..at].chars().next_back().is_some_and(is_ascii_word);
                let after = text[end..].chars().next().is_some_and(is_ascii_word);
                if !before && !after {
                    if !DENIED.is_match(&text[..at]) {
                        found.push(index);
                    }
                    text.replace_range(at..end, "\n");
                    from = at;
                } else {
                    from = end;
                }
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    /// What the model is asked to generate for each text.
    pub fn requests(&self, texts: &[Labelled]) -> Vec<Generation> {
        let request = |text: &Labelled| Generation {
            context: self.prompt(&text.text),
            until: vec!["\n\nText:".to_owned(), "</s>".to_owned()],
            max_tokens: self.max_tokens,
        };
        texts.iter().map(request).collect()
    }

    /// Asks for the label of each text, and compares. `progress` hears how many of how many are done.
    ///
    /// # Errors
    /// When the labels are fewer than two, twice the same or empty, a text's or shot's label is none of
    /// them, or the model fails or replies to none.
    pub fn run(
        &self,
        model: &dyn LanguageModel,
        texts: &[Labelled],
        progress: &mut dyn FnMut(usize, usize),
    ) -> Result<Classification> {
        self.check()?;
        let gold: Result<Vec<_>> = texts.iter().map(|text| self.index(&text.label)).collect();
        let gold = gold?;
        let mut replies = Vec::with_capacity(texts.len());
        for requests in self.requests(texts).chunks(CHUNK) {
            replies.extend(model.generate(requests)?);
            progress(replies.len(), texts.len());
        }
        let label = |reply: &Option<String>| self.parse(reply.as_deref()?);
        let predicted: Vec<_> = replies.iter().map(label).collect();
        let pairs = gold.into_iter().zip(predicted.iter().copied());
        let answered = pairs.zip(&replies).filter(|(_, reply)| reply.is_some());
        let (gold, given): (Vec<_>, Vec<_>) = answered.map(|(pair, _)| pair).unzip();
        if given.is_empty() && !texts.is_empty() {
            let reason = format!("none of {} texts got a reply", texts.len());
            return Err(Error::Input(reason));
        }
        let mut result = compare(&gold, &given, self.labels.len())?;
        (result.predicted, result.replies) = (predicted, replies);
        Ok(result)
    }

    /// Whether the labels will do.
    ///
    /// # Errors
    /// When they are fewer than two, twice the same or empty, or a shot's label is none of them.
    pub fn check(&self) -> Result<()> {
        let mut seen = BTreeMap::new();
        for label in &self.labels {
            if label.trim().is_empty() || seen.insert(label.to_lowercase(), ()).is_some() {
                return Err(Error::Input(format!(
                    "the label `{label}` is empty or given twice"
                )));
            }
        }
        if self.labels.len() < 2 {
            return Err(Error::Input("two labels are needed at least".to_owned()));
        }
        self.shots
            .iter()
            .try_for_each(|shot| self.index(&shot.label).map(drop))
    }

    fn index(&self, label: &str) -> Result<usize> {
        let same = |known: &String| known.to_lowercase() == label.to_lowercase();
        self.labels
            .iter()
            .position(same)
            .ok_or_else(|| Error::UnknownName {
                what: "label",
                name: label.to_owned(),
                known: self.labels.join(", "),
            })
    }
}

/// The figures of labels given, by the numbers of true ones.
///
/// # Errors
/// When the numbers of both differ, there are none, or one is not below `labels`.
pub fn compare(
    gold: &[usize],
    predicted: &[Option<usize>],
    labels: usize,
) -> Result<Classification> {
    let known = |index: &usize| *index < labels;
    let all = gold.iter().all(known) && predicted.iter().flatten().all(known);
    if gold.len() != predicted.len() || gold.is_empty() || !all {
        return Err(Error::Input(format!(
            "{} labels given for {} texts, of {labels} labels",
            predicted.len(),
            gold.len()
        )));
    }
    let mut confusion = vec![vec![0; labels]; labels];
    let mut unparsable = vec![0; labels];
    let mut right = Vec::with_capacity(gold.len());
    for (gold, predicted) in gold.iter().zip(predicted) {
        right.push(f64::from(u8::from(Some(*gold) == *predicted)));
        match predicted {
            Some(label) => confusion[*gold][*label] += 1,
            None => unparsable[*gold] += 1,
        }
    }
    let f1 = |label: usize| {
        let hits = confusion[label][label];
        let given: usize = confusion.iter().map(|row| row[label]).sum();
        let there: usize = confusion[label].iter().sum::<usize>() + unparsable[label];
        match given + there {
            0 => 0.0,
            both => 2.0 * hits as f64 / both as f64,
        }
    };
    Ok(Classification {
        accuracy: Estimate::of(&right),
        macro_f1: (0..labels).map(f1).sum::<f64>() / labels as f64,
        predicted: predicted.to_vec(),
        replies: Vec::new(),
        confusion,
        unparsable,
    })
}

// What denies the label that comes next, in small letters; words between are those that do not turn the
// sense ("not a very positive text", 不是很积极; but not "not only positive").
pattern!(DENIED, &{
    let between = "an?|the|any|at|all|very|really|quite|so|too|that|entirely|exactly|clearly|particularly|\
                   especially|necessarily|purely|truly|be|been|being|to|as|appear|seem|sound|look|feel|\
                   considered|called|classified|labell?ed";
    let english = format!(
        r"\b(?:(?:not|no|never|neither|nor|cannot|hardly|without)|[a-z]+n['’]t)\s+(?:(?:{between})\s+)*|\bnon-?\s*"
    );
    let chinese = "(?:[不非无未没别]|没有|谈不上|算不上)(?:是|能|会|算|属于|被|认为|有|很|太|够|大|怎么|那么|特别|十分|非常|真的|完全)*";
    format!(r#"(?:{english}|{chinese})["'“‘「*_]*$"#)
});

fn is_ascii_word(c: char) -> bool {
    c.is_ascii_alphanumeric()
}

fn capitalised(word: &str) -> String {
    let mut chars = word.chars();
    let first = chars.next().map(|c| c.to_uppercase().collect::<String>());
    first.unwrap_or_default() + chars.as_str()
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used, reason = "tests")]
    use super::*;

    fn classifier(style: Style) -> Classifier {
        Classifier {
            subject: "sentiment".to_owned(),
            labels: ["positive", "negative", "very positive"]
                .map(str::to_owned)
                .to_vec(),
            shots: Vec::new(),
            style,
            max_tokens: 10,
        }
    }

    #[test]
    fn labels_are_read() {
        let direct = classifier(Style::Direct);
        assert_eq!(direct.parse(" Positive.\n\nnegative"), Some(0));
        assert_eq!(direct.parse("very positive"), Some(2));
        assert_eq!(direct.parse("positive or negative"), None);
        assert_eq!(direct.parse("nonpositive"), None);
        assert_eq!(direct.parse("Sentiment: negative, not positive"), Some(1));
        let clues = classifier(Style::ChainOfClues);
        let reply = " positive words\nREASONING: …\nSentiment: **Negative**";
        assert_eq!(clues.parse(reply), Some(1));
        assert_eq!(clues.parse("I cannot say"), None);
    }

    #[test]
    fn a_denied_label_is_not_named() {
        let mut direct = classifier(Style::Direct);
        let denied = [
            "The text is not positive.",
            "Sentiment: not positive",
            "It isn't a very positive text",
            "It does not seem **positive**.",
            "non-positive",
            "neither positive nor negative",
        ];
        for text in denied {
            assert_eq!(direct.parse(text), None, "{text}");
        }
        assert_eq!(direct.parse("It is not positive but negative."), Some(1));
        assert_eq!(direct.parse("negative, not positive"), Some(1));
        assert_eq!(direct.parse("Not only positive"), Some(0));
        assert_eq!(direct.parse("I do not doubt it: positive"), Some(0));
        direct.labels = ["积极", "消极"].map(str::to_owned).to_vec();
        for text in ["不积极", "这段话不是很积极。", "并非“消极”", "没有积极"]
        {
            assert_eq!(direct.parse(text), None, "{text}");
        }
        assert_eq!(direct.parse("不是消极而是积极"), Some(0));
        assert_eq!(direct.parse("非常积极"), Some(0));
        assert_eq!(direct.parse("无疑是消极"), Some(1));
        // Labels that deny themselves.
        direct.labels = ["spam", "not spam"].map(str::to_owned).to_vec();
        assert_eq!(direct.parse("This is not spam."), Some(1));
        assert_eq!(direct.parse("spam"), Some(0));
    }

    #[test]
    fn figures_are_those_of_scikit_learn() {
        let text = include_str!("../../tests/goldens/lm_eval.json");
        let golden: serde_json::Value = serde_json::from_str(text).unwrap();
        let golden = &golden["classification"];
        let list =
            |key: &str| -> Vec<usize> { serde_json::from_value(golden[key].clone()).unwrap() };
        let predicted: Vec<_> = list("predicted").into_iter().map(Some).collect();
        let got = compare(&list("gold"), &predicted, 3).unwrap();
        assert!((got.accuracy.value - golden["accuracy"].as_f64().unwrap()).abs() < 1e-12);
        assert!((got.macro_f1 - golden["macro_f1"].as_f64().unwrap()).abs() < 1e-12);
        assert_eq!(serde_json::json!(got.confusion), golden["confusion"]);
    }
}
