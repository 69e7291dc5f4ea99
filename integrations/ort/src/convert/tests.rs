//! Models are put together here, so that none of this needs ONNX Runtime.

use super::onnx::{Attribute, Graph, Tensor, Value};
use super::*;

fn strings(names: &[&str]) -> Vec<String> {
    names.iter().map(|name| name.to_string()).collect()
}

fn node(op_type: &str, inputs: &[&str], output: &str) -> Node {
    let (input, output) = (strings(inputs), strings(&[output]));
    Node { op_type: op_type.to_string(), input, output, ..Node::default() }
}

fn norm(x: &str, y: &str) -> Node {
    node(OP_TYPE, &[x, "s", "b", "m", "v"], y)
}

fn graph(node: Vec<Node>) -> Graph {
    let named = |name: &str| Tensor { name: name.to_string() };
    let initializer = ["s", "b", "m", "v", "w"].map(named).to_vec();
    Graph { node, initializer, ..Graph::default() }
}

/// A model that imports a version of ONNX's operators, with a graph.
fn model(version: i64, graph: &Graph) -> Vec<u8> {
    let mut bytes = Vec::new();
    append(tags::MODEL_OPSET_IMPORT, &OpsetId { domain: String::new(), version }.encode_to_vec(), &mut bytes);
    append(tags::MODEL_GRAPH, &graph.encode_to_vec(), &mut bytes);
    bytes
}

/// Returns a model's imports and the nodes of its graph.
fn parts(model: &[u8]) -> (Vec<OpsetId>, Vec<Node>) {
    let mut nodes = Vec::new();
    let seen = edit(model, |tag, content| {
        if tag == tags::MODEL_GRAPH {
            nodes = Graph::decode(content)?.node;
        }
        Ok::<_, ConvertError>(Edit::Keep)
    });
    assert_eq!(seen.expect("a message"), model);
    (Model::decode(model).expect("a model").opset_import, nodes)
}

fn integer(name: &str, i: i64) -> Attribute {
    Attribute { name: name.to_string(), i, ..Attribute::default() }
}

#[test]
fn nodes_get_the_domain() -> Result<(), ConvertError> {
    let named = Node { name: "first".to_string(), domain: "ai.onnx".to_string(), ..norm("x", "a") };
    let other = Node { domain: "elsewhere".to_string(), ..norm("a", "b") };
    let nodes = vec![named.clone(), node("Relu", &["a"], "r"), norm("r", "c"), other];
    let converted = convert(&model(15, &graph(nodes.clone())))?;
    assert_eq!((converted.nodes(), converted.left()), (&strings(&["first", "c"])[..], &[][..]));
    let (imports, mut got) = parts(converted.model());
    assert_eq!(
        imports.iter().map(|import| (&*import.domain, import.version)).collect::<Vec<_>>(),
        [("", 15), (DOMAIN, 1)]
    );
    for converted in [0, 2] {
        assert_eq!(got[converted].domain, DOMAIN);
        got[converted].domain = nodes[converted].domain.clone();
    }
    assert_eq!(got, nodes);
    // Nothing is left to do, and the import is not repeated.
    let again = convert(converted.model())?;
    assert_eq!((again.nodes(), again.model()), (&[][..], converted.model()));
    Ok(())
}

#[test]
fn unknown_fields_stay() -> Result<(), ConvertError> {
    let unknown = b"\xf8\x3f\x96\x01\xfa\x3f\x03new"; // Fields 1023, a varint and three bytes.
    let mut bytes = norm("x", "y").encode_to_vec();
    bytes.extend(unknown);
    let mut whole = Vec::new();
    append(tags::GRAPH_NODE, &bytes, &mut whole);
    whole.extend(unknown);
    let mut bytes = Vec::new();
    append(tags::MODEL_OPSET_IMPORT, &OpsetId { domain: String::new(), version: 99 }.encode_to_vec(), &mut bytes);
    append(tags::MODEL_GRAPH, &whole, &mut bytes);
    bytes.extend(unknown);
    let converted = convert(&bytes)?;
    assert_eq!(converted.nodes(), ["y"]);
    let found = converted.model().windows(unknown.len()).filter(|part| part == unknown).count();
    assert_eq!(found, 3);
    Ok(())
}

#[test]
fn old_operator_sets() -> Result<(), ConvertError> {
    let reason = |version, node: &Node| -> Result<Option<Reason>, ConvertError> {
        let converted = convert(&model(version, &graph(vec![node.clone()])))?;
        assert_eq!(converted.nodes().len() + converted.left().len(), 1);
        Ok(converted.left().first().map(|(_, reason)| *reason))
    };
    let plain = norm("x", "y");
    let training = Node { output: strings(&["y", "a", "b", "c", "d"]), ..plain.clone() };
    let left_out = Node { output: strings(&["y", "", ""]), ..plain.clone() };
    let not_spatial = Node { attribute: vec![integer("spatial", 0)], ..plain.clone() };
    for version in [0, 1, 6] {
        assert_eq!(reason(version, &plain)?, Some(Reason::OldOpset { version }));
    }
    for version in [7, 8, 9, 13] {
        assert_eq!((reason(version, &plain)?, reason(version, &left_out)?), (None, None));
        assert_eq!(reason(version, &training)?, Some(Reason::OldTraining { outputs: 5 }));
    }
    assert_eq!(reason(7, &not_spatial)?, Some(Reason::NotSpatial));
    assert_eq!(reason(14, &Node { output: strings(&["y", "a", "b"]), ..plain.clone() })?, None);

    // What the operator does not know is gone.
    let spatial = Node { attribute: vec![integer("spatial", 1), integer("momentum", 0)], ..plain };
    let (_, nodes) = parts(convert(&model(7, &graph(vec![spatial])))?.model());
    assert_eq!(nodes[0].attribute, [integer("momentum", 0)]);
    Ok(())
}

#[test]
fn foldable_nodes_can_be_left() -> Result<(), ConvertError> {
    let left = |nodes: &[Node], change: fn(&mut Graph)| -> Result<usize, ConvertError> {
        let mut graph = graph(nodes.to_vec());
        change(&mut graph);
        let model = model(15, &graph);
        assert_eq!(convert(&model)?.left(), []);
        let converted = Converter::new().leave_foldable().convert(&model)?;
        assert_eq!(converted.nodes().len() + converted.left().len(), 1);
        assert!(converted.left().iter().all(|(_, reason)| *reason == Reason::FoldedIntoConv));
        Ok(converted.left().len())
    };
    let (conv, bn) = (node("Conv", &["x", "w"], "c"), norm("c", "y"));
    let pair = [conv.clone(), bn.clone()];
    assert_eq!(left(&pair, |_| ())?, 1);
    // Somebody else reads the convolution; a caller may replace a parameter; a parameter is computed; another operator.
    assert_eq!(left(&[conv.clone(), bn.clone(), node("Relu", &["c"], "r")], |_| ())?, 0);
    assert_eq!(left(&pair, |graph| graph.output.push(Value { name: "c".to_string() }))?, 0);
    assert_eq!(left(&pair, |graph| graph.input.push(Value { name: "v".to_string() }))?, 0);
    assert_eq!(left(&[node("Conv", &["x", "other"], "c"), bn.clone()], |_| ())?, 0);
    assert_eq!(left(&[node("Constant", &[], "other"), node("Conv", &["x", "other"], "c"), bn.clone()], |_| ())?, 1);
    assert_eq!(left(&[node("ConvTranspose", &["x", "w"], "c"), bn.clone()], |_| ())?, 0);
    let training = Node { attribute: vec![integer("training_mode", 1)], ..bn };
    assert_eq!(left(&[conv, training], |_| ())?, 0);
    Ok(())
}

#[test]
fn a_relu_is_taken_over() -> Result<(), ConvertError> {
    let fuse = |version, nodes: &[Node], outputs: &[&str]| -> Result<_, ConvertError> {
        let output = outputs.iter().map(|name| Value { name: name.to_string() }).collect();
        let converted =
            Converter::new().fuse_relu().convert(&model(version, &Graph { output, ..graph(nodes.to_vec()) }))?;
        let (_, got) = parts(converted.model());
        assert_eq!(got.len() + converted.fused().len(), nodes.len());
        Ok((converted.fused().to_vec(), got))
    };
    let training = Node { output: strings(&["y", "a", "b"]), ..norm("x", "y") };
    let (relu, conv) = (node("Relu", &["y"], "z"), node("Conv", &["z", "w"], "o"));
    let (fused, got) = fuse(15, &[training.clone(), relu.clone(), conv.clone()], &["o"])?;
    assert_eq!(fused, ["z"]);
    assert_eq!(got[0].output, ["z", "a", "b"]);
    assert_eq!(got[0].attribute, [Attribute::string("activation", "Relu")]);
    assert_eq!(got[1], conv);

    // Somebody else reads the output: a node, the caller, or a graph within the graph, perhaps.
    let reader = node("Neg", &["y"], "n");
    let branches = Node { attribute: vec![Attribute { g: Some(Vec::new()), ..integer("then_branch", 0) }], ..conv };
    for nodes in [[training.clone(), relu.clone(), reader], [training.clone(), relu.clone(), branches]] {
        assert!(fuse(15, &nodes, &["o"])?.0.is_empty());
    }
    assert!(fuse(15, &[training.clone(), relu.clone()], &["y", "z"])?.0.is_empty());
    // The node is not converted, or it is of somebody else, or there is no ReLU.
    assert!(fuse(6, &[norm("x", "y"), relu.clone()], &["z"])?.0.is_empty());
    assert!(fuse(15, &[Node { domain: "other".to_string(), ..norm("x", "y") }, relu.clone()], &["z"])?.0.is_empty());
    assert!(fuse(15, &[norm("x", "y"), node("Relu", &["other"], "z")], &["z", "y"])?.0.is_empty());
    // By default, a ReLU stays.
    assert_eq!(parts(convert(&model(15, &graph(vec![training, relu.clone()])))?.model()).1[1], relu);
    Ok(())
}

/// A node whose attribute holds a graph.
fn holding(graph: &[u8], tag: u32) -> Vec<u8> {
    let (mut attribute, mut bytes) = (Vec::new(), node("If", &["x"], "y").encode_to_vec());
    append(tag, graph, &mut attribute);
    append(tags::NODE_ATTRIBUTE, &attribute, &mut bytes);
    bytes
}

fn nested(levels: usize) -> Vec<u8> {
    let mut graph = graph(vec![norm("x", "y")]).encode_to_vec();
    for level in 0..levels {
        let tag = if level % 2 == 0 { tags::ATTRIBUTE_GRAPH } else { tags::ATTRIBUTE_GRAPHS };
        let mut outer = Vec::new();
        append(tags::GRAPH_NODE, &holding(&graph, tag), &mut outer);
        graph = outer;
    }
    let mut bytes = model(15, &Graph::default());
    append(tags::MODEL_GRAPH, &graph, &mut bytes);
    bytes
}

#[test]
fn graphs_within_graphs() -> Result<(), ConvertError> {
    for levels in [0, 1, 2, MOST_LEVELS] {
        assert_eq!(convert(&nested(levels))?.nodes().len(), 1, "{levels}");
    }
    for levels in [MOST_LEVELS + 1, 1000] {
        assert!(matches!(convert(&nested(levels)), Err(ConvertError::TooDeep { .. })), "{levels}");
    }
    Ok(())
}

#[test]
fn functions_import_the_domain() -> Result<(), ConvertError> {
    let import = |domain: &str, version| OpsetId { domain: domain.to_string(), version };
    let mut function = Function { opset_import: vec![import("", 14)] }.encode_to_vec();
    append(tags::FUNCTION_NODE, &norm("x", "y").encode_to_vec(), &mut function);
    let mut bytes = model(6, &graph(vec![norm("x", "old")]));
    append(tags::MODEL_FUNCTIONS, &function, &mut bytes);
    let converted = convert(&bytes)?;
    assert_eq!(converted.nodes(), ["y"]);
    assert_eq!(converted.left(), [("old".to_string(), Reason::OldOpset { version: 6 })]);
    let mut functions = Vec::new();
    edit(converted.model(), |tag, content| {
        if tag == tags::MODEL_FUNCTIONS {
            functions.push(Function::decode(content)?);
        }
        Ok::<_, ConvertError>(Edit::Keep)
    })?;
    assert_eq!(functions, [Function { opset_import: vec![import("", 14), import(DOMAIN, 1)] }]);
    Ok(())
}

#[test]
fn broken_models_are_errors() {
    let tiny = include_bytes!("../../tests/data/tiny.onnx");
    // Whatever is cut off or changed: an error or a model, and no panic.
    for len in 0..tiny.len() {
        let _ = convert(&tiny[..len]);
        for byte in [0, 1, 0x7f, 0x80, 0xff] {
            let mut changed = tiny.to_vec();
            changed[len] = byte;
            let _ = convert(&changed);
        }
    }
    assert!(matches!(convert(&tiny[..tiny.len() - 1]), Err(ConvertError::Decode(_))));
    assert!(matches!(convert(b""), Err(ConvertError::NoGraph)));
    let mut other = model(15, &graph(vec![norm("x", "y")]));
    append(tags::MODEL_OPSET_IMPORT, &OpsetId { domain: DOMAIN.to_string(), version: 2 }.encode_to_vec(), &mut other);
    let error = convert(&other).expect_err("another version").to_string();
    assert_eq!(error, "the model imports version 2 of the domain ai.batchnorm, but needs 1");
}
