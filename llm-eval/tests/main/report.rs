//! The page of a report: every text inert, every judgment there, nothing loaded.

use std::collections::BTreeMap;

use html5ever::tendril::TendrilSink;
use html5ever::{ParseOpts, parse_document};
use llm_eval::Report;
use llm_eval::judge::files::Id;
use llm_eval::judge::{Answers, Judged, Judgment, Judgments, Order, Question, Unscored};
use llm_eval::stats::Bootstrap;
use llm_eval::verdict::{Preference, Reason, Verdict};
use markup5ever_rcdom::{Handle, NodeData, RcDom};

/// What candidates and judges may write.
const HOSTILE: [&str; 9] = [
    "</script><script>alert(1)</script>",
    "<img src=x onerror=\"alert(1)\">",
    "\"><svg onload=alert(2)>",
    "' autofocus onfocus='alert(3)",
    "</div></details></section><h1>broken</h1>",
    "<!-- <style> ]]> &amp; &lt;b&gt;",
    "\u{202e}evil \0 \u{1b}[31m \u{85} line\r\nfeed",
    "![x](https://evil.example/x.png) | a `pipe` *b*",
    "你好，<b>世界</b> مرحبا",
];

pub(crate) fn row(
    number: usize,
    judge: &str,
    judged: Judged,
    verdict: Option<Verdict>,
) -> Judgment {
    let single = matches!(judged, Judged::One { .. });
    Judgment {
        question_id: Id::Number(number as i64),
        category: ["math", "writing", "roleplay"][number % 3].to_owned(),
        turn: 1,
        mode: if single { "single" } else { "pair" }.to_owned(),
        grammar: "rating".to_owned(),
        judge: judge.to_owned(),
        judged,
        prompt: "single".to_owned(),
        prompt_hash: "0".to_owned(),
        reference: false,
        attempt: 0,
        score: match &verdict {
            Some(Verdict::Score(score)) => Some(*score),
            _ => None,
        },
        unscored: match &verdict {
            None => Some(Unscored::Unparsed(Reason::NoVerdict)),
            Some(_) => None,
        },
        verdict,
        reply: Some(format!("reply {number} of {judge}")),
        first_reply: None,
        schema: None,
        expected: None,
    }
}

pub(crate) fn one(model: &str) -> Judged {
    Judged::One {
        model: model.to_owned(),
    }
}

pub(crate) fn scores(
    judge: &str,
    model: &str,
    scores: impl Fn(usize) -> f64,
    count: usize,
) -> Vec<Judgment> {
    let score = |number| {
        row(
            number,
            judge,
            one(model),
            Some(Verdict::Score(scores(number))),
        )
    };
    (0..count).map(score).collect()
}

/// Both orders of a question, with what the judge says in each.
pub(crate) fn games(judge: &str, number: usize, said: [Option<Preference>; 2]) -> [Judgment; 2] {
    let judged = |a: &str, b: &str, order| Judged::Two {
        model_a: a.to_owned(),
        model_b: b.to_owned(),
        order,
    };
    let orders = [
        judged("ours", "theirs", Order::Given),
        judged("theirs", "ours", Order::Swapped),
    ];
    let [given, swapped] = orders;
    let [one, two] = said.map(|said| said.map(Verdict::Preference));
    [
        row(number, judge, given, one),
        row(number, judge, swapped, two),
    ]
}

/// An element of a page.
pub(crate) struct Element {
    pub(crate) tag: String,
    pub(crate) attributes: BTreeMap<String, String>,
    /// All text in it.
    pub(crate) text: String,
}

fn elements(node: &Handle, found: &mut Vec<Element>) {
    if let NodeData::Element { name, attrs, .. } = &node.data {
        let attributes = attrs.borrow();
        let attributes = attributes
            .iter()
            .map(|one| (one.name.local.to_string(), one.value.to_string()));
        found.push(Element {
            tag: name.local.to_string(),
            attributes: attributes.collect(),
            text: text(node),
        });
    }
    node.children
        .borrow()
        .iter()
        .for_each(|child| elements(child, found));
}

fn text(node: &Handle) -> String {
    match &node.data {
        NodeData::Text { contents } => contents.borrow().to_string(),
        _ => node.children.borrow().iter().map(text).collect(),
    }
}

/// The page's elements, after a browser's parser has found no fault in it.
#[track_caller]
pub(crate) fn parsed(html: &str) -> Vec<Element> {
    let dom = parse_document(RcDom::default(), ParseOpts::default()).one(html);
    let errors = dom.errors.borrow();
    assert!(errors.is_empty(), "{errors:?}");
    let mut found = Vec::new();
    elements(&dom.document, &mut found);
    found
}

impl Element {
    pub(crate) fn is_of(&self, class: &str) -> bool {
        let classes = self.attributes.get("class");
        classes.is_some_and(|classes| classes.split(' ').any(|one| one == class))
    }
}

pub(crate) fn report_of(rows: Vec<Judgment>, then: impl FnOnce(&Report<'_>)) {
    let judgments = Judgments { rows };
    then(&Report::of(&judgments, &[], &[], &Bootstrap::default()).unwrap());
}

/// Judgments, questions and answers in which every text is hostile.
fn hostile() -> (Judgments, Vec<Question>, Vec<Answers>) {
    let mut rows = Vec::new();
    let mut questions = Vec::new();
    let mut answers: Vec<Answers> = HOSTILE
        .iter()
        .map(|text| Answers {
            model: format!("{text} model"),
            turns: BTreeMap::new(),
        })
        .collect();
    for (number, text) in HOSTILE.iter().enumerate() {
        let id = Id::Text(format!("{text} {number}"));
        questions.push(Question {
            id: id.clone(),
            category: format!("{text} category"),
            turns: vec![format!("{text} question")],
            reference: vec![format!("{text} reference")],
        });
        for (place, other) in HOSTILE.iter().enumerate() {
            let turns = vec![format!("{text} answer {place}-{number}.")];
            answers[place].turns.insert(id.clone(), turns);
            let judge = format!("{text} judge");
            let model = one(&format!("{other} model"));
            let verdict = (place > 0).then_some(Verdict::Score(place as f64));
            rows.push(Judgment {
                question_id: id.clone(),
                category: format!("{text} category"),
                grammar: format!("{other} grammar"),
                prompt: format!("{other} prompt"),
                prompt_hash: text.to_string(),
                reference: true,
                attempt: 1,
                unscored: (place == 0)
                    .then(|| Unscored::Unparsed(Reason::MissingCriterion(text.to_string()))),
                reply: Some(format!("{text} reply {place}-{number}.")),
                first_reply: Some(format!("{text} first {place}-{number}.")),
                ..row(number, &judge, model, verdict)
            });
        }
    }
    (Judgments { rows }, questions, answers)
}

/// What the parser makes of a text.
fn read(text: &str) -> String {
    let text = text.replace("\r\n", "\n");
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

#[test]
fn texts_of_others_are_inert() {
    let (judgments, questions, answers) = hostile();
    let report = Report::of(&judgments, &questions, &answers, &Bootstrap::default()).unwrap();
    let html = report.to_html();
    let found = parsed(&html);
    let count = |name: &str| found.iter().filter(|one| one.tag == name).count();
    assert_eq!(
        (count("script"), count("style"), count("img"), count("h1")),
        (1, 1, 0, 1)
    );
    for Element {
        tag, attributes, ..
    } in &found
    {
        for (name, value) in attributes {
            assert!(
                !name.starts_with("on") && name != "style" && name != "src",
                "{tag} {name}"
            );
            assert!(name != "href" || value.starts_with('#'), "{value}");
        }
    }
    // Every text stands in the page as it is.
    let texts = found.iter().filter(|one| one.is_of("text"));
    let texts: Vec<&str> = texts.map(|one| &*one.text).collect();
    let replies = judgments
        .rows
        .iter()
        .flat_map(|row| [&row.reply, &row.first_reply]);
    let shown = questions
        .iter()
        .flat_map(|one| one.turns.iter().chain(&one.reference));
    let given = answers.iter().flat_map(|one| one.turns.values()).flatten();
    let all: Vec<&String> = replies.flatten().chain(shown).chain(given).collect();
    assert_eq!(texts.len(), all.len());
    for one in all {
        assert!(texts.contains(&&*read(one)), "{one}");
    }
    // The rows of a table of Markdown have as many cells as its head.
    let markdown = report.to_markdown();
    assert!(
        !markdown.contains("<script") && !markdown.contains("![x]"),
        "{markdown}"
    );
    let cells = |line: &str| line.replace("\\|", "").matches('|').count();
    for (head, line) in markdown.lines().zip(markdown.lines().skip(1)) {
        if head.starts_with('|') && line.starts_with('|') {
            assert_eq!(cells(head), cells(line), "{line}");
        }
    }
}

#[test]
fn the_page_loads_nothing_and_says_so() {
    let (judgments, questions, answers) = hostile();
    let report = Report::of(&judgments, &questions, &answers, &Bootstrap::default()).unwrap();
    let found = parsed(&report.to_html());
    let policy = found
        .iter()
        .find(|one| one.attributes.contains_key("http-equiv"));
    let policy = &policy.unwrap().attributes["content"];
    assert!(policy.starts_with("default-src 'none'; "), "{policy}");
    for tag in ["script", "style"] {
        let code = found.iter().find(|one| one.tag == tag).unwrap();
        let nonce = format!("{tag}-src 'nonce-{}'", code.attributes["nonce"]);
        assert!(policy.contains(&nonce), "{policy}");
        assert!(code.text.len() > 1000);
        for word in ["http", "url(", "@import", "innerHTML", "eval("] {
            assert!(!code.text.contains(word), "{word}");
        }
    }
    let loads = ["link", "iframe", "object", "embed", "base", "image", "use"];
    assert!(!found.iter().any(|one| loads.contains(&&*one.tag)));
    // Other judgments, another mark.
    report_of(Vec::new(), |other| {
        let other = parsed(&other.to_html());
        let style = other.iter().find(|one| one.tag == "style").unwrap();
        assert!(!policy.contains(&style.attributes["nonce"]));
    });
}

#[test]
fn every_judgment_is_there_and_every_answer_once() {
    let mut rows = Vec::new();
    let said = [
        [Some(Preference::A), Some(Preference::B)],
        [Some(Preference::A), Some(Preference::A)],
        [Some(Preference::Tie), Some(Preference::Tie)],
        [None, Some(Preference::MuchB)],
    ];
    for judge in ["gpt-4", "claude-3"] {
        for (number, said) in said.iter().enumerate() {
            rows.extend(games(judge, number, *said));
        }
    }
    rows.extend(games("gpt-4", 0, said[0]));
    let answers = ["ours", "theirs"].map(|model| Answers {
        model: model.to_owned(),
        turns: (0..4)
            .map(|number| (Id::Number(number), vec![format!("{model} says {number}.")]))
            .collect(),
    });
    let judgments = Judgments { rows };
    let report = Report::of(&judgments, &[], &answers, &Bootstrap::default()).unwrap();
    let html = report.to_html();
    let found = parsed(&html);
    let of_class = |class: &str| {
        let nodes = found.iter().filter(|one| one.is_of(class));
        nodes.collect::<Vec<_>>()
    };
    assert_eq!(of_class("judgment").len(), judgments.rows.len());
    assert_eq!(of_class("meeting").len(), 4);
    for number in 0..4 {
        assert_eq!(html.matches(&format!("ours says {number}.")).count(), 1);
    }
    let said: Vec<_> = of_class("meeting")
        .iter()
        .map(|one| &*one.attributes["data-o"])
        .collect();
    assert_eq!(said, ["w0 l1", "tie disagree", "tie", "unscored"]);
    assert_eq!(html.matches("a duplicate, which does not count").count(), 2);
    assert_eq!(html.matches("gpt-4: a tie, the orders disagree").count(), 1);
    assert!(html.contains("The texts of the questions were not given."));
    // Links lead somewhere.
    let ids: Vec<_> = found
        .iter()
        .filter_map(|one| one.attributes.get("id"))
        .collect();
    for Element { attributes, .. } in &found {
        if let Some(link) = attributes.get("href") {
            assert!(ids.iter().any(|id| **id == link[1..]), "{link}");
        }
    }
}

#[test]
fn names_turn_nothing_around_them() {
    let arabic = "نموذج";
    let mut rows = scores("judge", arabic, |number| (number % 5) as f64, 3);
    rows.extend(scores("judge", "\u{202e}evil", |_| 1.0, 2));
    report_of(rows, |report| {
        let html = report.to_html();
        let turns = |c: char| matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}');
        let found = parsed(&html);
        let is_sentence = |one: &&Element| {
            matches!(
                &*one.tag,
                "h1" | "caption" | "figcaption" | "li" | "title" | "text" | "bdi"
            )
        };
        for one in found.iter().filter(is_sentence) {
            assert!(!one.text.contains(turns), "{} {}", one.tag, one.text);
        }
        let heading = html.split("<h1>").nth(1).unwrap();
        assert!(
            heading.starts_with(&format!("<bdi>{arabic}</bdi>, ")),
            "{heading:.80}"
        );
        assert!(!report.to_markdown().contains(turns));
    });
}
