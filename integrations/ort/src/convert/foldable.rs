//! Which nodes ONNX Runtime folds into the convolution before them.

use std::collections::{HashMap, HashSet};

use super::onnx::{Graph, Node};
use crate::OP_TYPE;

/// Returns the outputs of these nodes.
pub(super) fn outputs(graph: &Graph) -> Vec<String> {
    let inputs: HashSet<&str> = graph.input.iter().map(|input| &*input.name).collect();
    // The caller of a session may replace an initializer that is an input, too.
    let initializers = graph.initializer.iter().map(|tensor| &*tensor.name).filter(|name| !inputs.contains(name));
    let constants = graph.node.iter().filter(|node| node.is("Constant")).flat_map(|node| &node.output);
    let constant: HashSet<&str> = initializers.chain(constants.map(String::as_str)).collect();
    let conv: HashMap<&str, &Node> = graph
        .node
        .iter()
        .filter(|node| node.is("Conv"))
        .filter_map(|node| Some((&**node.output.first()?, node)))
        .collect();
    let mut readers = HashMap::<&str, usize>::new();
    let read = graph.node.iter().flat_map(|node| &node.input).chain(graph.output.iter().map(|output| &output.name));
    read.for_each(|name| *readers.entry(name).or_default() += 1);

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
