//! The parts of ONNX's messages that decide what becomes of a node. Other fields are skipped, and never written from here.

use prost::Message;

/// Tags of the fields that are changed, and of those on the way to them.
pub(super) mod tags {
    pub(in crate::convert) const MODEL_GRAPH: u32 = 7;
    pub(in crate::convert) const MODEL_OPSET_IMPORT: u32 = 8;
    pub(in crate::convert) const MODEL_FUNCTIONS: u32 = 25;
    pub(in crate::convert) const GRAPH_NODE: u32 = 1;
    pub(in crate::convert) const NODE_OUTPUT: u32 = 2;
    pub(in crate::convert) const NODE_ATTRIBUTE: u32 = 5;
    pub(in crate::convert) const NODE_DOMAIN: u32 = 7;
    pub(in crate::convert) const ATTRIBUTE_GRAPH: u32 = 6;
    pub(in crate::convert) const ATTRIBUTE_GRAPHS: u32 = 11;
    pub(in crate::convert) const FUNCTION_NODE: u32 = 7;
    pub(in crate::convert) const FUNCTION_OPSET_IMPORT: u32 = 9;
}

/// `OperatorSetIdProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct OpsetId {
    #[prost(string, tag = "1")]
    pub(super) domain: String,
    #[prost(int64, tag = "2")]
    pub(super) version: i64,
}

/// `ModelProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Model {
    #[prost(message, repeated, tag = "8")]
    pub(super) opset_import: Vec<OpsetId>,
}

/// `FunctionProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Function {
    #[prost(message, repeated, tag = "9")]
    pub(super) opset_import: Vec<OpsetId>,
}

/// `GraphProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Graph {
    #[prost(message, repeated, tag = "1")]
    pub(super) node: Vec<Node>,
    #[prost(message, repeated, tag = "5")]
    pub(super) initializer: Vec<Tensor>,
    #[prost(message, repeated, tag = "11")]
    pub(super) input: Vec<Value>,
    #[prost(message, repeated, tag = "12")]
    pub(super) output: Vec<Value>,
}

/// `NodeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Node {
    #[prost(string, repeated, tag = "1")]
    pub(super) input: Vec<String>,
    #[prost(string, repeated, tag = "2")]
    pub(super) output: Vec<String>,
    #[prost(string, tag = "3")]
    pub(super) name: String,
    #[prost(string, tag = "4")]
    pub(super) op_type: String,
    #[prost(message, repeated, tag = "5")]
    pub(super) attribute: Vec<Attribute>,
    #[prost(string, tag = "7")]
    pub(super) domain: String,
}

impl Node {
    /// Returns an attribute that holds an integer.
    pub(super) fn integer(&self, name: &str) -> Option<i64> {
        self.attribute.iter().find(|attribute| attribute.name == name).map(|attribute| attribute.i)
    }

    /// Whether an attribute holds graphs, which may read any value of the graph around them.
    pub(super) fn holds_graphs(&self) -> bool {
        self.attribute.iter().any(|attribute| attribute.g.is_some() || !attribute.graphs.is_empty())
    }

    /// Whether this is one of ONNX's own operators.
    pub(super) fn is(&self, op_type: &str) -> bool {
        self.op_type == op_type && is_default(&self.domain)
    }

    /// Returns the name, or that of the output if the node has none.
    pub(super) fn label(&self) -> &str {
        match (&*self.name, self.output.first()) {
            ("", Some(output)) => output,
            (name, _) => name,
        }
    }
}

/// Whether a domain is that of ONNX's own operators.
pub(super) fn is_default(domain: &str) -> bool {
    matches!(domain, "" | "ai.onnx")
}

/// `AttributeProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Attribute {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(int64, tag = "3")]
    pub(super) i: i64,
    #[prost(bytes = "vec", tag = "4")]
    pub(super) s: Vec<u8>,
    /// A `GraphProto`, and more of them, as they are.
    #[prost(bytes = "vec", optional, tag = "6")]
    pub(super) g: Option<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "11")]
    pub(super) graphs: Vec<Vec<u8>>,
    /// What the attribute holds: an `AttributeType`.
    #[prost(int32, tag = "20")]
    pub(super) r#type: i32,
}

impl Attribute {
    /// Returns an attribute that holds a string.
    pub(super) fn string(name: &str, value: &str) -> Self {
        const STRING: i32 = 3;
        let (name, s) = (name.to_string(), value.as_bytes().to_vec());
        Attribute { name, s, r#type: STRING, ..Attribute::default() }
    }
}

/// `TensorProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Tensor {
    #[prost(string, tag = "8")]
    pub(super) name: String,
}

/// `ValueInfoProto`.
#[derive(Clone, PartialEq, Message)]
pub(super) struct Value {
    #[prost(string, tag = "1")]
    pub(super) name: String,
}
