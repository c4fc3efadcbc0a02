//! The text on which the bundled tiny model is pre-trained: a small world of plain facts, told in
//! English and Chinese.
//!
//! Every sentence is made here, from tables of facts (`tables`, `facts`) and the sentences of each
//! family of facts (`english`, `chinese`). Nothing is taken from a data set. The world is small on
//! purpose: fewer than five hundred Chinese characters, a thousand English words, and each fact told
//! dozens of times in different words, so that a model of a million parameters can learn it.

mod chinese;
mod english;
mod facts;
mod family;
mod sayings;
mod tables;
#[cfg(test)]
mod tests;

use rand::seq::{IndexedRandom, SliceRandom};
use rand::{Rng, RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use family::{Fact, Family, capitalised, fill};

/// The corpus ends with the document that takes it past this many bytes.
const CORPUS_BYTES: usize = 2_200_000;

/// The documents of the corpus, 200 to 1500 characters each, the same for the same seed.
///
/// About 2.2 MB of text, half of the documents in each language and a few in both. A document is a
/// handful of paragraphs: lists, several facts of one family, one fact in several wordings, or
/// facts of many families. Questions occur in dialogues and in talk about questions.
pub fn documents(seed: u64) -> Vec<String> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut english = Narrator::english();
    let mut chinese = Narrator::chinese();
    let mut documents = Vec::new();
    let mut bytes = 0;
    while bytes < CORPUS_BYTES {
        let document = match rng.random_range(0..20) {
            0..10 => document(&mut rng, &mut [&mut english]),
            10..18 => document(&mut rng, &mut [&mut chinese]),
            _ => document(&mut rng, &mut [&mut english, &mut chinese]),
        };
        bytes += document.len();
        documents.push(document);
    }
    documents
}

/// Paragraphs of the narrators, in turn, up to a random length.
fn document(rng: &mut impl Rng, narrators: &mut [&mut Narrator]) -> String {
    let (least, most) = narrators[0].lengths;
    let wanted = rng.random_range(least..most);
    let mut text = String::new();
    let mut turn = 0;
    while text.chars().count() < wanted {
        if turn > 0 {
            text.push_str("\n\n");
        }
        text.push_str(&narrators[turn % narrators.len()].paragraph(rng));
        turn += 1;
    }
    text
}

/// Tells the facts of one language.
struct Narrator {
    families: Vec<Family>,
    /// The order in which the facts of each family come up.
    decks: Vec<Deck>,
    /// Each family's index as often as its share of the text demands.
    lots: Vec<usize>,
    frames: &'static [&'static str],
    names: &'static [&'static str],
    /// What stands between two sentences.
    space: &'static str,
    /// A document grows until it has so many characters: at least, below.
    lengths: (usize, usize),
}

impl Narrator {
    fn english() -> Self {
        Narrator {
            frames: english::FRAMES,
            names: english::NAMES,
            space: " ",
            lengths: (250, 1000),
            ..Narrator::new(english::families())
        }
    }

    fn chinese() -> Self {
        Narrator {
            frames: chinese::FRAMES,
            names: chinese::NAMES,
            lengths: (200, 600),
            ..Narrator::new(chinese::families())
        }
    }

    fn new(families: Vec<Family>) -> Self {
        Narrator {
            decks: families
                .iter()
                .map(|family| Deck::new(family.facts.len()))
                .collect(),
            lots: (0..families.len())
                .flat_map(|i| vec![i; families[i].share])
                .collect(),
            families,
            frames: &[],
            names: &[],
            space: "",
            lengths: (0, 0),
        }
    }

    fn paragraph(&mut self, rng: &mut impl Rng) -> String {
        match rng.random_range(0..10) {
            0 => self.list(rng),
            1..3 => self.several_facts(rng),
            3..5 => self.one_fact(rng),
            _ => self.many_families(rng),
        }
    }

    /// A heading and a fact a line.
    fn list(&mut self, rng: &mut impl Rng) -> String {
        let family = self.any_family(rng);
        let mut text = format!("{}:", self.families[family].title);
        for _ in 0..rng.random_range(3..8) {
            let fact = self.decks[family].draw(rng);
            let family = &self.families[family];
            text.push_str("\n- ");
            text.push_str(&fill(family.item, &family.facts[fact]));
        }
        text
    }

    /// Several facts of a family, each in one sentence.
    fn several_facts(&mut self, rng: &mut impl Rng) -> String {
        let family = self.any_family(rng);
        let facts = (0..rng.random_range(2..5)).map(|_| (family, self.decks[family].draw(rng)));
        let facts: Vec<_> = facts.collect();
        self.tell(rng, &facts)
    }

    /// One fact in several sentences.
    fn one_fact(&mut self, rng: &mut impl Rng) -> String {
        let family = self.any_family(rng);
        let fact = self.decks[family].draw(rng);
        let times = rng.random_range(2..4);
        self.tell(rng, &vec![(family, fact); times])
    }

    /// A fact each of several families.
    fn many_families(&mut self, rng: &mut impl Rng) -> String {
        let mut facts = Vec::new();
        for _ in 0..rng.random_range(2..5) {
            let family = self.any_family(rng);
            facts.push((family, self.decks[family].draw(rng)));
        }
        self.tell(rng, &facts)
    }

    fn any_family(&self, rng: &mut impl Rng) -> usize {
        self.lots[rng.random_range(0..self.lots.len())]
    }

    /// A sentence or more about each of the facts (family, fact).
    fn tell(&self, rng: &mut impl Rng, facts: &[(usize, usize)]) -> String {
        let mut text = String::new();
        for &(family, fact) in facts {
            let family = &self.families[family];
            let sentence = self.mention(rng, family, &family.facts[fact]);
            if !text.is_empty() {
                // A frame of several lines stands on lines of its own.
                let apart = sentence.contains('\n') || text.contains('\n');
                text.push_str(if apart { "\n\n" } else { self.space });
            }
            text.push_str(&sentence);
        }
        text
    }

    /// States the fact, or puts a question about it into a frame.
    fn mention(&self, rng: &mut impl Rng, family: &Family, fact: &Fact) -> String {
        let question = family.asks.choose(rng).filter(|_| rng.random_bool(0.65));
        let Some(question) = question else {
            let statement = family.says.choose(rng).unwrap_or(&family.answer);
            return capitalised(&fill(statement, fact));
        };
        let [asks, knows] = self.names.sample_array(rng).unwrap_or_default();
        let short = fill(family.short, fact);
        let mut frame = self.frames[rng.random_range(0..self.frames.len())];
        if frame.contains("{s}") && short.contains([' ', '、']) {
            // That frame is for a reply of one word.
            frame = self.frames[0];
        }
        let text = frame
            .replace("{m}", asks)
            .replace("{n}", knows)
            .replace("{q}", &capitalised(&fill(question, fact)))
            .replace("{t}", &fill(family.topic, fact))
            .replace("{s}", &short)
            .replace("{a}", &capitalised(&fill(family.answer, fact)));
        capitalised(&text)
    }
}

/// Deals every fact of a family once, in random order, before any comes again.
struct Deck {
    order: Vec<usize>,
    dealt: usize,
}

impl Deck {
    fn new(facts: usize) -> Self {
        Deck {
            order: (0..facts).collect(),
            dealt: facts,
        }
    }

    fn draw(&mut self, rng: &mut impl Rng) -> usize {
        if self.dealt == self.order.len() {
            self.order.shuffle(rng);
            self.dealt = 0;
        }
        self.dealt += 1;
        self.order[self.dealt - 1]
    }
}
