//! Families of facts: a table of cells and the sentences into which the cells are set.

/// The cells of one fact.
pub(super) type Fact = Vec<String>;

/// Facts of one kind with everything that can be said about each of them.
///
/// In the sentences `{0}`, `{1}`, … stand for the cells of a fact, `{a0}` for the cell with its
/// English article.
pub(super) struct Family {
    pub(super) facts: Vec<Fact>,
    /// How often the family comes up, in relation to others: the number of its facts, unless the
    /// sheet says otherwise (families that follow a rule need less text than those to be known).
    pub(super) share: usize,
    /// Heading of a list of these facts.
    pub(super) title: &'static str,
    /// A line of such a list.
    pub(super) item: &'static str,
    /// What a question about the fact is about, as a noun phrase.
    pub(super) topic: &'static str,
    /// The fact as a sentence.
    pub(super) answer: &'static str,
    /// The fact as a word or two.
    pub(super) short: &'static str,
    /// Sentences that state the fact on their own.
    pub(super) says: Vec<&'static str>,
    /// Questions whose answer is the fact; none for families that only state.
    pub(super) asks: Vec<&'static str>,
}

impl Family {
    /// Reads a family's sentences from a sheet: one a line, after the name of its field.
    ///
    /// # Panics
    ///
    /// Where a line has no known field name or a share is no number: the sheets are part of the
    /// program.
    pub(super) fn new(facts: Vec<Fact>, sheet: &'static str) -> Self {
        let mut family = Family {
            share: facts.len().max(20),
            facts,
            title: "",
            item: "",
            topic: "",
            answer: "",
            short: "",
            says: Vec::new(),
            asks: Vec::new(),
        };
        for line in sheet.lines().map(str::trim).filter(|line| !line.is_empty()) {
            let (field, text) = line.split_once(' ').unwrap_or((line, ""));
            match field {
                "share" => family.share = text.parse().expect("a share is a number"),
                "title" => family.title = text,
                "item" => family.item = text,
                "topic" => family.topic = text,
                "answer" => family.answer = text,
                "short" => family.short = text,
                "say" => family.says.push(text),
                "ask" => family.asks.push(text),
                _ => panic!("a sheet has no field {field:?}: {line:?}"),
            }
        }
        // An answer that does not name its subject says nothing on its own.
        if family.answer.contains("{0}") {
            family.says.push(family.answer);
        }
        family
    }
}

/// The rows of a table (see `tables`), with `_` inside a cell as a space.
pub(super) fn rows(table: &str) -> Vec<Fact> {
    table
        .split(['\n', '|'])
        .map(|row| row.split_whitespace().map(cell).collect::<Fact>())
        .filter(|row| !row.is_empty())
        .collect()
}

/// The words of a table whose rows do not matter.
pub(super) fn words(table: &str) -> Vec<String> {
    table.split_whitespace().map(cell).collect()
}

fn cell(text: &str) -> String {
    match text {
        "_" => String::new(),
        _ => text.replace('_', " "),
    }
}

/// The given columns of each row that has something in all of them.
pub(super) fn columns(table: &str, wanted: &[usize]) -> Vec<Fact> {
    rows(table)
        .into_iter()
        .map(|row| wanted.iter().map(|&column| row[column].clone()).collect())
        .filter(|fact: &Fact| fact.iter().all(|cell| !cell.is_empty()))
        .collect()
}

/// Each pair and its reverse.
pub(super) fn both_ways(table: &str) -> Vec<Fact> {
    rows(table)
        .into_iter()
        .flat_map(|pair| [pair.iter().rev().cloned().collect(), pair])
        .collect()
}

/// Each word of a closed circle with its successor.
pub(super) fn successors(table: &str) -> Vec<Fact> {
    let circle = words(table);
    (0..circle.len())
        .map(|i| vec![circle[i].clone(), circle[(i + 1) % circle.len()].clone()])
        .collect()
}

/// Every combination of a word of each table.
pub(super) fn combinations(first: &str, second: &str) -> Vec<(String, String)> {
    let second = words(second);
    words(first)
        .into_iter()
        .flat_map(|a| second.iter().map(move |b| (a.clone(), b.clone())))
        .collect()
}

/// Sets the cells of a fact into a sentence.
pub(super) fn fill(sentence: &str, fact: &Fact) -> String {
    let mut text = sentence.to_owned();
    for (i, cell) in fact.iter().enumerate() {
        text = text.replace(&format!("{{a{i}}}"), &format!("{} {cell}", article(cell)));
        text = text.replace(&format!("{{{i}}}"), cell);
    }
    text
}

/// The same text, with a capital letter at its beginning where it is an English sentence.
pub(super) fn capitalised(text: &str) -> String {
    if !text.ends_with(['.', '?', '!', '"']) {
        return text.to_owned();
    }
    let mut letters = text.chars();
    match letters.next() {
        Some(first) => first.to_uppercase().chain(letters).collect(),
        None => String::new(),
    }
}

fn article(word: &str) -> &'static str {
    if word.starts_with(['a', 'e', 'i', 'o', 'u']) {
        "an"
    } else {
        "a"
    }
}
