//! YAML text to a tree of located nodes.
//!
//! The parser's events are composed without recursion. Aliases are resolved by sharing
//! the anchored node, so they cost no memory; what a walk over the tree would visit
//! through them is bounded, and so is the depth, which makes every later recursion over
//! the tree safe. What a scalar means is not decided here but in `scalar`.
//!
//! The parser follows YAML 1.2, so it wants lines inside brackets, braces and quotes
//! indented, and no tab between `key:` and a value, where YAML 1.1 parsers did not mind.

use std::borrow::Cow;
use std::collections::HashMap;
use std::rc::Rc;

use saphyr_parser::{Event, Marker, Parser, ScalarStyle, ScanError, Tag};

/// Lists and maps inside each other, what aliases stand for included.
const MAX_DEPTH: usize = 100;

/// What all aliases of a document may stand for, in nodes.
const MAX_EXPANDED: usize = 1_000_000;

/// And so many more for each node that is written down.
const EXPANDED_PER_NODE: usize = 10;

/// A long text costs as much as one more node for each so many bytes.
const BYTES_PER_NODE: usize = 32;

/// A place in a file: line and column, both from 1. Line 0 is no place to show.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) struct Place {
    pub(crate) line: u32,
    pub(crate) column: u32,
}

/// A value and where it stands; for an alias, where the alias stands.
#[derive(Debug)]
pub(crate) struct Node<'t> {
    pub(crate) at: Place,
    body: Body<'t>,
}

#[derive(Debug)]
enum Body<'t> {
    Own(Kind<'t>),
    /// Anchored, or an alias of what is anchored.
    Shared(Rc<Kind<'t>>),
}

/// What a node is.
#[derive(Debug)]
pub(crate) enum Kind<'t> {
    Scalar(Scalar<'t>),
    Sequence(Vec<Node<'t>>),
    /// Keys and values in the order of the file: duplicates and merge keys included.
    Mapping(Vec<(Node<'t>, Node<'t>)>),
}

/// Text that has yet to be resolved.
#[derive(Debug)]
pub(crate) struct Scalar<'t> {
    pub(crate) text: Cow<'t, str>,
    /// Neither quoted nor a block.
    pub(crate) plain: bool,
    /// The full tag, such as `tag:yaml.org,2002:str`.
    pub(crate) tag: Option<Box<str>>,
}

/// The first document of a file.
#[derive(Debug)]
pub(crate) struct Document<'t> {
    /// `None` for an empty file.
    pub(crate) root: Option<Node<'t>>,
    /// Where something follows the document.
    pub(crate) rest: Option<Place>,
}

/// Why a text is not YAML.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct SyntaxError {
    pub(crate) at: Place,
    pub(crate) found: String,
    pub(crate) allowed: String,
}

/// Parses the first document of `text`.
pub(crate) fn parse(text: &str) -> Result<Document<'_>, SyntaxError> {
    let mut parser = Parser::new_from_str(text);
    let (mut composer, end) = (Composer::default(), end(text));
    while let Some(event) = parser.next_event() {
        let (event, span) = event.map_err(|error| syntax(&error, end))?;
        if matches!(event, Event::DocumentEnd | Event::StreamEnd) {
            break;
        }
        composer.take(event, place(span.start).min(end))?;
    }
    let rest = match parser.next_event() {
        Some(Ok((Event::DocumentStart(_), span))) => Some(place(span.start).min(end)),
        Some(Err(error)) => Some(place(*error.marker()).min(end)),
        _ => None,
    };
    Ok(Document { root: composer.root, rest })
}

impl<'t> Node<'t> {
    pub(super) fn new(at: Place, kind: Kind<'t>) -> Self {
        Self { at, body: Body::Own(kind) }
    }

    pub(crate) fn kind(&self) -> &Kind<'t> {
        match &self.body {
            Body::Own(kind) => kind,
            Body::Shared(kind) => kind,
        }
    }
}

impl Scalar<'_> {
    /// The key `<<`, which merges its value into the map.
    pub(crate) fn is_merge(&self) -> bool {
        self.text == "<<"
            && match &self.tag {
                None => self.plain,
                Some(tag) => &**tag == "tag:yaml.org,2002:merge",
            }
    }
}

/// Builds the tree from events.
#[derive(Default)]
struct Composer<'t> {
    /// Lists and maps that are not closed yet, outermost first.
    open: Vec<Open<'t>>,
    anchors: HashMap<usize, Anchored<'t>>,
    /// Nodes that are written down, and those that aliases stand for.
    written: usize,
    expanded: usize,
    root: Option<Node<'t>>,
}

/// A list or map that still grows.
struct Open<'t> {
    at: Place,
    anchor: usize,
    kind: Kind<'t>,
    /// A map's key that waits for its value.
    key: Option<Node<'t>>,
    size: Size,
}

struct Anchored<'t> {
    kind: Rc<Kind<'t>>,
    size: Size,
}

/// How large a node is with all that is below it.
#[derive(Clone, Copy)]
struct Size {
    nodes: usize,
    depth: usize,
}

impl<'t> Composer<'t> {
    fn take(&mut self, event: Event<'t>, at: Place) -> Result<(), SyntaxError> {
        match event {
            Event::Scalar(text, style, anchor, tag) => {
                let size = Size { nodes: 1 + text.len() / BYTES_PER_NODE, depth: 0 };
                let plain = style == ScalarStyle::Plain;
                let tag = tag.map(|tag| full_tag(&tag));
                let kind = Kind::Scalar(Scalar { text, plain, tag });
                self.close(Open { at, anchor, kind, key: None, size });
                Ok(())
            }
            Event::SequenceStart(anchor, _) => self.begin(at, anchor, Kind::Sequence(Vec::new())),
            Event::MappingStart(anchor, _) => self.begin(at, anchor, Kind::Mapping(Vec::new())),
            Event::SequenceEnd | Event::MappingEnd => {
                if let Some(open) = self.open.pop() {
                    self.close(open);
                }
                Ok(())
            }
            Event::Alias(anchor) => self.alias(at, anchor),
            _ => Ok(()),
        }
    }

    fn begin(&mut self, at: Place, anchor: usize, kind: Kind<'t>) -> Result<(), SyntaxError> {
        self.check_depth(at, 1)?;
        let size = Size { nodes: 1, depth: 1 };
        self.open.push(Open { at, anchor, kind, key: None, size });
        Ok(())
    }

    fn close(&mut self, done: Open<'t>) {
        let Open { at, anchor, kind, size, .. } = done;
        self.written += 1;
        if anchor == 0 {
            return self.add(Node { at, body: Body::Own(kind) }, size);
        }
        let kind = Rc::new(kind);
        self.anchors.insert(anchor, Anchored { kind: Rc::clone(&kind), size });
        self.add(Node { at, body: Body::Shared(kind) }, size);
    }

    fn alias(&mut self, at: Place, anchor: usize) -> Result<(), SyntaxError> {
        let Some(Anchored { kind, size }) = self.anchors.get(&anchor) else {
            let found = "an alias inside the node that it stands for".to_owned();
            return Err(SyntaxError { at, found, allowed: String::new() });
        };
        let (node, size) = (Node { at, body: Body::Shared(Rc::clone(kind)) }, *size);
        self.check_depth(at, size.depth)?;
        self.expanded = self.expanded.saturating_add(size.nodes);
        if self.expanded > MAX_EXPANDED + EXPANDED_PER_NODE * self.written {
            let found = "aliases stand for too much text".to_owned();
            let allowed = format!("all together may stand for {MAX_EXPANDED} nodes");
            return Err(SyntaxError { at, found, allowed });
        }
        self.add(node, size);
        Ok(())
    }

    fn check_depth(&self, at: Place, more: usize) -> Result<(), SyntaxError> {
        if self.open.len() + more <= MAX_DEPTH {
            return Ok(());
        }
        Err(SyntaxError {
            at,
            found: "lists and maps are nested too deeply".to_owned(),
            allowed: format!("{MAX_DEPTH} levels are allowed"),
        })
    }

    /// Hands a finished node to the list or map around it.
    fn add(&mut self, mut node: Node<'t>, size: Size) {
        let Some(open) = self.open.last_mut() else {
            self.root = Some(node);
            return;
        };
        open.size.nodes = open.size.nodes.saturating_add(size.nodes);
        open.size.depth = open.size.depth.max(size.depth + 1);
        match &mut open.kind {
            Kind::Scalar(_) => {}
            Kind::Sequence(items) => items.push(node),
            Kind::Mapping(entries) => match open.key.take() {
                None => open.key = Some(node),
                Some(key) => {
                    // The parser locates a missing value at whatever comes next.
                    if matches!(node.kind(), Kind::Scalar(s) if s.plain && s.text.is_empty()) {
                        node.at = key.at;
                    }
                    entries.push((key, node));
                }
            },
        }
    }
}

fn full_tag(tag: &Tag) -> Box<str> {
    format!("{}{}", tag.handle, tag.suffix).into()
}

fn place(mark: Marker) -> Place {
    let narrow = |number| u32::try_from(number).unwrap_or(u32::MAX);
    Place { line: narrow(mark.line()), column: narrow(mark.col() + 1) }
}

/// The end of the text. The parser ends a last line that has no end, and takes what is
/// missing to be on the line after it, which no editor shows.
fn end(text: &str) -> Place {
    let ends = text.matches(['\n', '\r']).count() - text.matches("\r\n").count();
    let last = text.rsplit(['\n', '\r']).next().unwrap_or_default().chars().count();
    let narrow = |number: usize| u32::try_from(number + 1).unwrap_or(u32::MAX);
    Place { line: narrow(ends), column: narrow(last) }
}

fn syntax(error: &ScanError, end: Place) -> SyntaxError {
    let found = format!("not valid YAML: {}", error.info());
    let at = place(*error.marker()).min(end);
    SyntaxError { at, found, allowed: hint(error.info()).to_owned() }
}

/// What probably helps, for the mistakes that rule files are prone to.
fn hint(info: &str) -> &'static str {
    if info.starts_with("invalid indentation") {
        "lines inside [], {} or quotes must be indented deeper than the key before them"
    } else if info.starts_with("tabs disallowed") || info.contains("valid YAML whitespace") {
        "use spaces instead of the tab"
    } else if info.starts_with("mapping values are not allowed") {
        "is the line indented rightly? A text with `: ` in it needs quotes"
    } else if info.starts_with("while scanning an anchor or alias") {
        "a text that begins with `*` or `&` needs quotes"
    } else if info.starts_with("unexpected character") {
        "a text that begins with this character needs quotes"
    } else {
        ""
    }
}
