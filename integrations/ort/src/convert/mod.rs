//! Makes a model use the operator: its nodes `BatchNormalization` get another domain.

mod error;
mod facts;
mod fields;
mod onnx;
#[cfg(test)]
mod tests;

use prost::Message;

pub use error::{ConvertError, Reason};
use facts::Facts;
use fields::{Edit, append, edit};
use onnx::{Attribute, Function, Model, Node, OpsetId, is_default, tags};

use crate::{ACTIVATION, DOMAIN, OP_TYPE, RELU, VERSION};

/// Most levels of graphs within graphs.
const MOST_LEVELS: usize = 32;

/// Converts all nodes of a model that can be, with the defaults of [`Converter`].
///
/// # Errors
/// As for [`Converter::convert`].
///
/// ```
/// let converted = batchnorm_ort::convert(include_bytes!("../../tests/data/tiny.onnx"))?;
/// assert_eq!((converted.nodes(), converted.left()), (&["bn".to_string()][..], &[][..]));
/// let bytes: &[u8] = converted.model(); // std::fs::write("converted.onnx", bytes)?
/// assert!(!bytes.is_empty());
/// # Ok::<(), batchnorm_ort::ConvertError>(())
/// ```
pub fn convert(model: &[u8]) -> Result<Converted, ConvertError> {
    Converter::new().convert(model)
}

/// Which nodes are converted.
///
/// Converted are nodes of ONNX's operator `BatchNormalization`: those of the graph, of graphs within it (as in the branches
/// of an `If`) and of functions. Operator sets from 14 on are converted whole, 7 to 13 for inference; [`Reason`] says
/// which nodes are left. Everything else in the model stays, byte for byte. Weights in files of their own are found beside
/// the converted model as beside the original: put it into the same folder.
///
/// | option | default | |
/// |---|---|---|
/// | [`leave_foldable`](Converter::leave_foldable) | no | nodes that ONNX Runtime folds into the convolution before |
/// | [`fuse_relu`](Converter::fuse_relu) | no | a `Relu` that alone reads the output becomes a part of the node |
///
/// ```
/// use batchnorm_ort::Converter;
///
/// let tiny = include_bytes!("../../tests/data/tiny.onnx"); // no convolution
/// assert_eq!(Converter::new().leave_foldable().convert(tiny)?.nodes().len(), 1);
/// # Ok::<(), batchnorm_ort::ConvertError>(())
/// ```
#[derive(Clone, Copy, Debug, Default)]
#[must_use]
pub struct Converter {
    leave_foldable: bool,
    fuse_relu: bool,
}

/// A converted model.
///
/// ```
/// use batchnorm_ort::convert;
///
/// let converted = convert(include_bytes!("../../tests/data/tiny.onnx"))?;
/// // There is nothing left to convert.
/// let again = convert(converted.model())?;
/// assert_eq!((again.nodes().len(), again.model()), (0, converted.model()));
/// # Ok::<(), batchnorm_ort::ConvertError>(())
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Converted {
    model: Vec<u8>,
    nodes: Vec<String>,
    fused: Vec<String>,
    left: Vec<(String, Reason)>,
}

impl Converted {
    /// Returns the model, as the bytes of an ONNX file.
    #[must_use]
    pub fn model(&self) -> &[u8] {
        &self.model
    }

    /// Returns the model, as the bytes of an ONNX file.
    #[must_use]
    pub fn into_model(self) -> Vec<u8> {
        self.model
    }

    /// Returns the names of the converted nodes: of a node without one, the name of its output.
    #[must_use]
    pub fn nodes(&self) -> &[String] {
        &self.nodes
    }

    /// Returns the names of the nodes `Relu` that are now parts of converted ones.
    #[must_use]
    pub fn fused(&self) -> &[String] {
        &self.fused
    }

    /// Returns the names of the nodes `BatchNormalization` that were left as they are, and why.
    #[must_use]
    pub fn left(&self) -> &[(String, Reason)] {
        &self.left
    }
}

impl Converter {
    /// Converts all nodes that can be.
    pub fn new() -> Self {
        Converter::default()
    }

    /// Leaves nodes that ONNX Runtime folds into the convolution before them, unless its optimisations are off: folded,
    /// they cost nothing.
    ///
    /// These are nodes whose only input that is computed comes from a `Conv` with constant weights, and nobody else reads
    /// that. Folding has a price where means are large beside their deviations: the output is then less accurate.
    pub fn leave_foldable(mut self) -> Self {
        self.leave_foldable = true;
        self
    }

    /// Makes each `Relu` that alone reads the output of a converted node a part of it: one pass over the batch in place of
    /// two. Graphs with graphs within them are left out, because those may read the output, too.
    ///
    /// ```
    /// let tiny = include_bytes!("../../tests/data/tiny.onnx"); // no ReLU
    /// assert!(batchnorm_ort::Converter::new().fuse_relu().convert(tiny)?.fused().is_empty());
    /// # Ok::<(), batchnorm_ort::ConvertError>(())
    /// ```
    pub fn fuse_relu(mut self) -> Self {
        self.fuse_relu = true;
        self
    }

    /// Converts a model: the bytes of an ONNX file. A model without such nodes is returned as it is.
    ///
    /// # Errors
    /// [`ConvertError`], if the bytes are no ONNX model, or import another version of the domain.
    pub fn convert(self, model: &[u8]) -> Result<Converted, ConvertError> {
        let imports = Model::decode(model)?.opset_import;
        let mut run = Run { options: self, nodes: Vec::new(), fused: Vec::new(), left: Vec::new() };
        let mut has_graph = false;
        let mut edited = edit(model, |tag, content| {
            let version = default_version(&imports);
            match tag {
                tags::MODEL_GRAPH => {
                    has_graph = true;
                    run.graph(content, version, 0).map(Edit::Replace)
                }
                tags::MODEL_FUNCTIONS => run.function(content).map(Edit::Replace),
                _ => Ok(Edit::Keep),
            }
        })?;
        if !has_graph {
            return Err(ConvertError::NoGraph);
        }
        let Run { nodes, fused, left, .. } = run;
        if !nodes.is_empty() {
            import(&imports, tags::MODEL_OPSET_IMPORT, &mut edited)?;
        }
        Ok(Converted { model: edited, nodes, fused, left })
    }
}

/// Returns the version of ONNX's own operators, or 0 if a model imports none.
fn default_version(imports: &[OpsetId]) -> i64 {
    imports.iter().find(|import| is_default(&import.domain)).map_or(0, |import| import.version)
}

/// Appends an import of the domain, unless there is one.
fn import(imports: &[OpsetId], tag: u32, to: &mut Vec<u8>) -> Result<(), ConvertError> {
    let needed = i64::from(VERSION);
    match imports.iter().find(|import| import.domain == DOMAIN) {
        None => {
            append(tag, &OpsetId { domain: DOMAIN.to_string(), version: needed }.encode_to_vec(), to);
            Ok(())
        }
        Some(import) if import.version == needed => Ok(()),
        Some(import) => Err(ConvertError::OtherVersion { needed, given: import.version }),
    }
}

/// A conversion under way.
struct Run {
    options: Converter,
    nodes: Vec<String>,
    fused: Vec<String>,
    left: Vec<(String, Reason)>,
}

impl Run {
    fn graph(&mut self, graph: &[u8], version: i64, level: usize) -> Result<Vec<u8>, ConvertError> {
        if level > MOST_LEVELS {
            return Err(ConvertError::TooDeep { most: MOST_LEVELS });
        }
        let facts = Facts::of(&onnx::Graph::decode(graph)?, version, self.options);
        edit(graph, |tag, content| match tag {
            tags::GRAPH_NODE => self.node(content, version, level, &facts),
            _ => Ok(Edit::Keep),
        })
    }

    fn function(&mut self, function: &[u8]) -> Result<Vec<u8>, ConvertError> {
        let imports = Function::decode(function)?.opset_import;
        let (before, version) = (self.nodes.len(), default_version(&imports));
        let mut edited = edit(function, |tag, content| match tag {
            tags::FUNCTION_NODE => self.node(content, version, 0, &Facts::default()),
            _ => Ok(Edit::Keep),
        })?;
        if self.nodes.len() > before {
            import(&imports, tags::FUNCTION_OPSET_IMPORT, &mut edited)?;
        }
        Ok(edited)
    }

    fn node(&mut self, bytes: &[u8], version: i64, level: usize, facts: &Facts) -> Result<Edit, ConvertError> {
        let node = Node::decode(bytes)?;
        let label = || node.label().to_string();
        if facts.is_taken_over(&node) {
            self.fused.push(label());
            return Ok(Edit::Remove);
        }
        if !node.is(OP_TYPE) {
            return if node.holds_graphs() { self.graphs_of(bytes, version, level) } else { Ok(Edit::Keep) };
        }
        if let Some(reason) = reason_to_leave(&node, version, facts) {
            self.left.push((label(), reason));
            return Ok(Edit::Keep);
        }
        self.nodes.push(label());
        renamed(bytes, node.output.first().and_then(|output| facts.relu.get(output))).map(Edit::Replace)
    }

    /// Converts the graphs that the attributes of another node hold, such as the branches of an `If`.
    fn graphs_of(&mut self, node: &[u8], version: i64, level: usize) -> Result<Edit, ConvertError> {
        let edited = edit(node, |tag, attribute| match tag {
            tags::NODE_ATTRIBUTE => edit(attribute, |tag, graph| match tag {
                tags::ATTRIBUTE_GRAPH | tags::ATTRIBUTE_GRAPHS => {
                    self.graph(graph, version, level + 1).map(Edit::Replace)
                }
                _ => Ok(Edit::Keep),
            })
            .map(Edit::Replace),
            _ => Ok(Edit::Keep),
        })?;
        Ok(Edit::Replace(edited))
    }
}

/// Returns why a node is not converted.
fn reason_to_leave(node: &Node, version: i64, facts: &Facts) -> Option<Reason> {
    let outputs = node.output.iter().filter(|output| !output.is_empty()).count();
    match version {
        ..7 => Some(Reason::OldOpset { version }),
        7..14 if outputs != 1 => Some(Reason::OldTraining { outputs }),
        7..9 if node.integer("spatial") == Some(0) => Some(Reason::NotSpatial),
        _ if node.output.first().is_some_and(|output| facts.foldable.contains(output)) => Some(Reason::FoldedIntoConv),
        _ => None,
    }
}

/// Returns a node with the domain and without what the operator does not know; with the output of the ReLU that it takes
/// over.
fn renamed(node: &[u8], relu: Option<&String>) -> Result<Vec<u8>, ConvertError> {
    let mut output = relu;
    let mut edited = edit(node, |tag, content| {
        Ok::<_, ConvertError>(match tag {
            tags::NODE_OUTPUT => output.take().map_or(Edit::Keep, |first| Edit::Replace(first.as_bytes().to_vec())),
            tags::NODE_DOMAIN => Edit::Remove,
            tags::NODE_ATTRIBUTE if Attribute::decode(content)?.name == "spatial" => Edit::Remove,
            _ => Edit::Keep,
        })
    })?;
    if relu.is_some() {
        append(tags::NODE_ATTRIBUTE, &Attribute::string(ACTIVATION, RELU).encode_to_vec(), &mut edited);
    }
    append(tags::NODE_DOMAIN, DOMAIN.as_bytes(), &mut edited);
    Ok(edited)
}
