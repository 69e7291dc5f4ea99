//! What the nodes of a graph are to each other.

use std::collections::{HashMap, HashSet};

use super::onnx::{Graph, Node};
use super::{Converter, reason_to_leave};
use crate::OP_TYPE;

/// What decides about the nodes of a graph, by the names of their outputs.
#[derive(Default)]
pub(super) struct Facts {
    /// Nodes that ONNX Runtime folds into the convolution before them.
    pub(super) foldable: HashSet<String>,
    /// Nodes that take over the ReLU after them, and its output.
    pub(super) relu: HashMap<String, String>,
}

impl Facts {
    /// Looks at a graph of this version of ONNX's operators, as far as the options need it.
    pub(super) fn of(graph: &Graph, version: i64, options: Converter) -> Self {
        let mut facts = Facts::default();
        let readers = readers(graph);
        if options.leave_foldable {
            facts.foldable = foldable(graph, &readers);
        }
        if options.fuse_relu && !graph.node.iter().any(Node::holds_graphs) {
            facts.relu = relu(graph, &readers, |norm| reason_to_leave(norm, version, &facts).is_none());
        }
        facts
    }

    /// Whether a node is a ReLU that the node before it takes over.
    pub(super) fn is_taken_over(&self, node: &Node) -> bool {
        let (input, output) = (node.input.first(), node.output.first());
        node.is("Relu") && input.is_some() && input.and_then(|input| self.relu.get(input)) == output
    }
}

/// Returns how often each value is read, as an output of the graph, too.
fn readers(graph: &Graph) -> HashMap<&str, usize> {
    let mut readers = HashMap::<&str, usize>::new();
    let read = graph.node.iter().flat_map(|node| &node.input).chain(graph.output.iter().map(|output| &output.name));
    read.for_each(|name| *readers.entry(name).or_default() += 1);
    readers
}

fn relu(graph: &Graph, readers: &HashMap<&str, usize>, converts: impl Fn(&Node) -> bool) -> HashMap<String, String> {
    let is_norm = |node: &&Node| node.is(OP_TYPE) && converts(node);
    let norms: HashSet<&String> = graph.node.iter().filter(is_norm).filter_map(|node| node.output.first()).collect();
    let pairs = graph.node.iter().filter(|node| node.is("Relu")).filter_map(|node| {
        let (x, y) = (node.input.first()?, node.output.first()?);
        (norms.contains(x) && readers.get(&**x) == Some(&1)).then(|| (x.clone(), y.clone()))
    });
    pairs.collect()
}

fn foldable(graph: &Graph, readers: &HashMap<&str, usize>) -> HashSet<String> {
    let inputs: HashSet<&str> = graph.input.iter().map(|input| &*input.name).collect();
    // The caller of a session may replace an initializer that is an input, too.
    let initializers = graph.initializer.iter().map(|tensor| &*tensor.name).filter(|name| !inputs.contains(name));
    let constants = graph.node.iter().filter(|node| node.is("Constant")).flat_map(|node| &node.output);
    let constant: HashSet<&str> = initializers.chain(constants.map(String::as_str)).collect();
    let convs = graph.node.iter().filter(|node| node.is("Conv"));
    let conv: HashMap<&str, &Node> = convs.filter_map(|node| Some((&**node.output.first()?, node))).collect();

    let is_constant = |name: &String| constant.contains(&**name);
    let folds = |node: &&Node| {
        let Some((x, parameters)) = node.input.split_first() else { return false };
        let outputs = node.output.iter().filter(|output| !output.is_empty()).count();
        node.is(OP_TYPE)
            && node.integer("training_mode").unwrap_or(0) == 0
            && outputs == 1
            && parameters.iter().all(is_constant)
            && conv.get(&**x).is_some_and(|conv| conv.input.iter().skip(1).all(is_constant))
            && readers.get(&**x) == Some(&1)
    };
    graph.node.iter().filter(folds).filter_map(|node| node.output.first().cloned()).collect()
}
