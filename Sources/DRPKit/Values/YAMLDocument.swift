internal import Yams

/// A node of a YAML file with the place where it stands. Scalars stay text: the reader that knows
/// what it expects converts them, so that `no` is never a Bool by accident.
package struct YAMLNode: Sendable, Hashable {
    /// One entry of a mapping, in the order of the file.
    package struct Entry: Sendable, Hashable {
        package var key: String
        /// Where the key stands, from 1.
        package var line: Int
        package var column: Int
        package var value: YAMLNode
    }

    package enum Content: Sendable, Hashable {
        /// `isPlain` is false for quoted and block text.
        case scalar(String, isPlain: Bool)
        case sequence([YAMLNode])
        /// Keys are unique.
        case mapping([Entry])
    }

    package var content: Content
    /// From 1, as `column`, which counts Unicode scalars.
    package var line: Int
    package var column: Int

    package init(_ content: Content, line: Int, column: Int) {
        self.content = content
        self.line = line
        self.column = column
    }

    /// The text of a scalar; nil for anything else, and for null.
    package var scalar: String? {
        if case .scalar(let text, _) = content, !isNull { text } else { nil }
    }

    package var sequence: [YAMLNode]? {
        if case .sequence(let nodes) = content { nodes } else { nil }
    }

    package var mapping: [Entry]? {
        if case .mapping(let entries) = content { entries } else { nil }
    }

    /// Nothing was written, or an unquoted `~` or `null` (YAML 1.2 core schema, 10.3.2).
    package var isNull: Bool {
        if case .scalar(let text, true) = content { ["", "~", "null", "Null", "NULL"].contains(text) } else { false }
    }

    /// The value below `key`; nil without such a key or in something that is no mapping.
    package subscript(key: String) -> YAMLNode? { mapping?.first { $0.key == key }?.value }

    /// For messages: what stands here, as `a list`.
    package var kindInWords: String {
        switch content {
        case .scalar: isNull ? "nothing" : "text"
        case .sequence: "a list"
        case .mapping: "a mapping"
        }
    }
}

/// Reads one YAML document within bounds: Yams alone limits neither size nor what aliases unfold to.
/// The only importer of Yams.
package enum YAMLDocument {
    /// The longest text that is read, in bytes.
    package static let maximumSize = 4 << 20
    /// The most collections that lie in each other.
    package static let maximumDepth = 32
    /// More alias-like words than this are refused before Yams sees them: it hashes keys with their
    /// aliases unfolded, and 32 aliases can unfold to 3^11 nodes at most.
    private static let maximumAliasesParsed = 32

    /// - Parameters:
    ///   - bytes: UTF-8; at most `maximumSize`.
    ///   - file: only for the problems.
    /// - Returns: the root, or nil if the text could not be read at all; and everything wrong with it.
    ///   With an error among the problems the tree may lack the parts that are wrong.
    package static func parse(bytes: [UInt8], file: String) -> (root: YAMLNode?, problems: [Problem]) {
        guard bytes.count <= maximumSize else {
            return (nil, [tooLarge(file: file)])
        }
        guard let text = String(validating: bytes, as: UTF8.self) else {
            return (nil, [Problem(file: file, line: 0, column: 0, "the file is not UTF-8 text")])
        }
        return parse(text: text, file: file)
    }

    /// As `parse(bytes:file:)`.
    package static func parse(text: String, file: String) -> (root: YAMLNode?, problems: [Problem]) {
        guard text.utf8.count <= maximumSize else { return (nil, [tooLarge(file: file)]) }
        guard !hasTooManyAliases(text) else {
            return (nil, [Problem(file: file, line: 0, column: 0, "anchors and aliases are not allowed here")])
        }
        do {
            // `.basic` has no rules for tags: no regular expression runs for each key.
            let parser = try Parser(yaml: text, resolver: .basic, encoding: .utf8)
            // Nodes hold their anchors weakly: without the parser, aliases would be unseen and unfolded.
            return try withExtendedLifetime(parser) {
                guard let node = try parser.singleRoot() else {
                    return (nil, [Problem(file: file, line: 0, column: 0, "the file is empty")])
                }
                var converter = Converter(file: file)
                let root = converter.convert(node, depth: 0)
                return (root, converter.problems)
            }
        } catch {
            return (nil, [problem(of: error, file: file)])
        }
    }

    private static func tooLarge(file: String) -> Problem {
        Problem(file: file, line: 0, column: 0, "the file is larger than \(maximumSize >> 20) MiB")
    }

    /// Counts words that look like `&anchor` and `*alias`, also in comments and quotes: a coarse sieve.
    private static func hasTooManyAliases(_ text: String) -> Bool {
        func isWord(_ byte: UInt8) -> Bool {
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                || byte == 0x5f || byte == 0x2d
        }
        var hasAnchor = false
        var aliases = 0
        var mark: UInt8 = 0
        for byte in text.utf8 {
            if mark == 0x26, isWord(byte) { hasAnchor = true }
            if mark == 0x2a, isWord(byte) { aliases += 1 }
            mark = byte
        }
        return hasAnchor && aliases > maximumAliasesParsed
    }

    /// The one place that translates the errors of Yams.
    private static func problem(of error: any Error, file: String) -> Problem {
        guard let error = error as? YamlError else {
            return Problem(file: file, line: 0, column: 0, "the file cannot be read as YAML: \(error)")
        }
        switch error {
        case .scanner(let context, let problem, let mark, _), .parser(let context, let problem, let mark, _),
            .composer(let context, let problem, let mark, _):
            let scanned = (context?.text ?? "") + problem
            if scanned.contains("alias") || scanned.contains("anchor") {
                return Problem(
                    file: file, line: mark.line, column: mark.column, "anchors and aliases are not allowed here",
                    advice: "quote a text that begins with '*' or '&'")
            }
            return Problem(file: file, line: mark.line, column: mark.column, "not valid YAML: \(problem)")
        case .duplicatedKeysInMapping(let keys, let context):
            let names = keys.map { "'\($0)'" }.joined(separator: ", ")
            return Problem(
                file: file, line: context.mark.line, column: context.mark.column,
                "\(names) stands twice in one mapping",
                advice: "keep one of them")
        case .memory:
            // Text is capped, so libyaml only says this at its own limit of nesting (1000).
            return Problem(file: file, line: 0, column: 0, "nested more than \(maximumDepth) levels deep")
        case .reader(let problem, let offset, _, let yaml):
            let before = yaml.prefix(offset ?? 0)
            let line = 1 + before.count { $0.isNewline }
            return Problem(file: file, line: line, column: 1, "not valid YAML: \(problem)")
        default:
            return Problem(file: file, line: 0, column: 0, "the file cannot be read as YAML")
        }
    }

    private struct Converter {
        let file: String
        var problems: [Problem] = []

        init(file: String) { self.file = file }

        mutating func convert(_ node: Node, depth: Int) -> YAMLNode {
            let (line, column) = (node.mark?.line ?? 0, node.mark?.column ?? 0)
            let nothing = YAMLNode(.scalar("", isPlain: true), line: line, column: column)
            // An alias arrives as the node that has the anchor; not going into it also ends every bomb.
            if node.anchor != nil {
                add(line, column, "anchors and aliases are not allowed here", "write the value out")
                return nothing
            }
            guard depth <= YAMLDocument.maximumDepth else {
                add(line, column, "nested more than \(YAMLDocument.maximumDepth) levels deep", "")
                return nothing
            }
            let content: YAMLNode.Content
            switch node {
            case .scalar(let scalar):
                content = .scalar(scalar.string, isPlain: scalar.style == .plain || scalar.style == .any)
            case .sequence(let sequence):
                content = .sequence(sequence.map { convert($0, depth: depth + 1) })
            case .mapping(let mapping):
                content = .mapping(mapping.compactMap { entry(key: $0.key, value: $0.value, depth: depth) })
            case .alias:
                add(line, column, "anchors and aliases are not allowed here", "write the value out")
                return nothing
            }
            return YAMLNode(content, line: line, column: column)
        }

        private mutating func entry(key: Node, value: Node, depth: Int) -> YAMLNode.Entry? {
            let (line, column) = (key.mark?.line ?? 0, key.mark?.column ?? 0)
            guard case .scalar(let scalar) = key, key.anchor == nil else {
                add(line, column, "a key must be plain text", "quote a text that begins with '*' or '&'")
                return nil
            }
            return YAMLNode.Entry(
                key: scalar.string, line: line, column: column, value: convert(value, depth: depth + 1))
        }

        private mutating func add(_ line: Int, _ column: Int, _ message: String, _ advice: String) {
            // A hostile file could make millions of them.
            guard problems.count < 100 else { return }
            problems.append(Problem(file: file, line: line, column: column, message, advice: advice))
        }
    }
}
