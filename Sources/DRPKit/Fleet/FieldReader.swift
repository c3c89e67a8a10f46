/// A file that is being read.
struct SourceFile: Sendable {
    /// As named in problems.
    var name: String
    /// Absolute; relative paths in the file begin here.
    var folder: String
}

/// A place in a file.
struct Place: Sendable, Hashable {
    var file: String
    var line: Int
    var column: Int
}

/// What is noted while files are read: problems, names that exist, references to check, places.
/// A class, since all readers of one fleet write to it; it never leaves the reading task.
final class ReadingNotes {
    enum Kind: String { case site, store, policy, environment }

    private(set) var problems: [Problem] = []
    private(set) var places: [String: Place] = [:]
    private var declared: [Kind: Set<String>] = [:]
    private var references: [(kind: Kind, name: String, place: Place)] = []
    /// What the files name outside of themselves, in the order in which it was read.
    private(set) var outside: [FleetReference] = []

    func add(_ place: Place, _ message: String, advice: String = "", severity: Problem.Severity = .error) {
        // A hostile file must not make a list without end.
        guard problems.count < 1000 else { return }
        problems.append(
            Problem(
                severity, file: place.file, line: place.line, column: place.column, message, advice: advice))
    }

    func add(contentsOf more: [Problem]) { problems += more }

    /// Notes where something stands, for the rules across values.
    func mark(_ what: String, at place: Place) { places[what] = place }

    func place(of what: String) -> Place { places[what] ?? Place(file: "", line: 0, column: 0) }

    /// - Returns: false if the name exists already; then that is a problem.
    func declare(_ kind: Kind, _ name: String, at place: Place) -> Bool {
        guard declared[kind, default: []].insert(name).inserted else {
            let first = self.place(of: "\(kind.rawValue) \(name)")
            add(
                place, "the \(kind.rawValue) '\(name)' exists twice",
                advice: "the first is at \(first.file):\(first.line)")
            return false
        }
        mark("\(kind.rawValue) \(name)", at: place)
        return true
    }

    func point(to target: FleetReference.Target, at place: Place, text: String = "") {
        outside.append(
            FleetReference(file: place.file, line: place.line, column: place.column, text: text, target: target))
    }

    /// What was noted since is part of what is noted next.
    func markInner(from index: Int) { for index in index..<outside.count { outside[index].isInner = true } }

    func refer(to kind: Kind, _ name: String, at place: Place) { references.append((kind, name, place)) }

    /// Adds a problem for each reference that leads nowhere; to be called once, when all is read.
    func checkReferences() {
        for (kind, name, place) in references where !declared[kind, default: []].contains(name) {
            let near = Suggestion.nearest(to: name, among: declared[kind, default: []].sorted())
            add(
                place, "no \(kind.rawValue) is called '\(Printable.short(name))'",
                advice: near.map { "did you mean '\($0)'?" } ?? "")
        }
    }
}

/// Text of a file as it may be shown on a terminal.
enum Printable {
    /// At most 40 characters, without control characters.
    static func short(_ text: String) -> String {
        let clean = String(String.UnicodeScalarView(text.unicodeScalars.prefix(41).map { isPlain($0) ? $0 : "?" }))
        return clean.count > 40 ? clean.prefix(40) + "…" : clean
    }

    static func isPlain(_ scalar: Unicode.Scalar) -> Bool {
        switch scalar.properties.generalCategory {
        case .control, .format, .surrogate, .lineSeparator, .paragraphSeparator, .unassigned, .privateUse: false
        default: true
        }
    }
}

/// Reads one mapping: every key that is asked for is known, and `finish` finds those that are not.
struct FieldReader {
    let notes: ReadingNotes
    let source: SourceFile
    let place: Place
    private let what: String
    private let entries: [YAMLNode.Entry]
    private var known: [String] = []

    /// - Parameter what: for messages, with article, as `a site`.
    /// - Returns: nil, with a problem, if `node` is no mapping; nothing at all counts as an empty one.
    init?(_ node: YAMLNode, _ what: String, _ source: SourceFile, _ notes: ReadingNotes) {
        place = Place(file: source.name, line: node.line, column: node.column)
        if node.isNull {
            entries = []
        } else if let mapping = node.mapping {
            entries = mapping
        } else {
            notes.add(place, "\(what) must be a mapping, not \(node.kindInWords)")
            return nil
        }
        (self.what, self.source, self.notes) = (what, source, notes)
    }

    /// The value of a key that may be left out; null counts as left out.
    mutating func optional(_ key: String) -> YAMLNode? {
        known.append(key)
        return entries.first { $0.key == key && !$0.value.isNull }?.value
    }

    mutating func required(_ key: String) -> YAMLNode? {
        if let node = optional(key) { return node }
        let entry = entries.first { $0.key == key }
        let here = entry.map { Place(file: source.name, line: $0.line, column: $0.column) } ?? place
        notes.add(here, "\(what) needs '\(key)'")
        return nil
    }

    /// Whether a key stands here; it counts as known from then on.
    mutating func has(_ key: String) -> Bool { optional(key) != nil }

    /// Adds a problem for each key that nothing asked for.
    func finish() {
        for entry in entries where !known.contains(entry.key) {
            let near = Suggestion.nearest(to: entry.key, among: known)
            notes.add(
                Place(file: source.name, line: entry.line, column: entry.column),
                "unknown key '\(Printable.short(entry.key))'",
                advice: near.map { "did you mean '\($0)'?" } ?? "known here: \(known.joined(separator: ", "))")
        }
    }

    func place(of node: YAMLNode) -> Place { Place(file: source.name, line: node.line, column: node.column) }

    // MARK: Values. Each returns nil after it noted a problem, and nil quietly for nil.

    func text(_ node: YAMLNode?, _ name: String = "this") -> String? {
        guard let node else { return nil }
        guard let text = node.scalar else {
            notes.add(place(of: node), "\(name) must be text, not \(node.kindInWords)")
            return nil
        }
        guard !text.isEmpty, text.unicodeScalars.allSatisfy(Printable.isPlain) else {
            notes.add(place(of: node), "\(name) is empty or holds control characters")
            return nil
        }
        return text
    }

    /// Reads text that a function understands.
    func value<Value>(_ node: YAMLNode?, _ expected: String, _ parse: (String) -> Value?) -> Value? {
        guard let node, let text = text(node) else { return nil }
        if let value = parse(text) { return value }
        notes.add(place(of: node), "'\(Printable.short(text))' is not \(expected)")
        return nil
    }

    func name<Name: FleetName>(_ node: YAMLNode?) -> Name? {
        value(node, "a name: 1 to 63 of a-z, 0-9 and inner hyphens") { Name($0) }
    }

    /// A name that must exist.
    func reference<Name: FleetName>(_ node: YAMLNode?, to kind: ReadingNotes.Kind) -> Name? {
        guard let node, let name: Name = name(node) else { return nil }
        notes.refer(to: kind, name.text, at: place(of: node))
        return name
    }

    func duration(_ node: YAMLNode?) -> Duration? {
        value(node, "a duration above zero, as 30s, 5m, 1h or 7d") { text in
            DurationText.parse(text).flatMap { $0 > .zero ? $0 : nil }
        }
    }

    func size(_ node: YAMLNode?) -> ByteCount? { value(node, "a size, as 64GiB or 1TB") { ByteCount($0) } }

    func integer(_ node: YAMLNode?, _ range: ClosedRange<Int>) -> Int? {
        value(node, "a whole number from \(range.lowerBound) to \(range.upperBound)") { text in
            guard text.utf8.allSatisfy({ (0x30...0x39).contains($0) }) else { return nil }
            return Int(text).flatMap { range.contains($0) ? $0 : nil }
        }
    }

    func boolean(_ node: YAMLNode?) -> Bool? {
        value(node, "true or false") { ["true": true, "false": false][$0] }
    }

    func choice<Value: RawRepresentable & CaseIterable>(_ node: YAMLNode?, _ type: Value.Type) -> Value?
    where Value.RawValue == String {
        value(node, "one of " + type.allCases.map(\.rawValue).joined(separator: ", ")) { Value(rawValue: $0) }
    }

    /// A path, made absolute from the folder of the file.
    /// - Parameter kind: what lies there.
    func path(
        _ node: YAMLNode?, _ kind: (String) -> FleetReference.Target = FleetReference.Target.file
    ) -> String? {
        guard let node, let text = text(node, "a path") else { return nil }
        let path = absolute(text)
        notes.point(to: kind(path), at: place(of: node), text: text)
        return path
    }

    func absolute(_ path: String) -> String {
        path.hasPrefix("/") ? path : source.folder + "/" + (path.hasPrefix("./") ? String(path.dropFirst(2)) : path)
    }

    func list(_ node: YAMLNode?, _ name: String) -> [YAMLNode]? {
        guard let node else { return nil }
        guard let list = node.sequence else {
            notes.add(place(of: node), "\(name) must be a list, not \(node.kindInWords)")
            return nil
        }
        return list
    }

    func texts(_ node: YAMLNode?, _ name: String) -> [String]? { list(node, name)?.compactMap { text($0) } }

    /// An argument vector: a program and what it is given; never a line for a shell.
    func command(_ node: YAMLNode?) -> [String]? {
        guard let node, let list = list(node, "a command") else { return nil }
        guard !list.isEmpty else {
            notes.add(place(of: node), "a command needs a program")
            return nil
        }
        let words = list.compactMap { text($0, "an argument") }
        guard words.count == list.count else { return nil }
        // A bare name is looked up in PATH; anything else is a path.
        guard words[0].contains("/") else { return words }
        notes.point(to: .program(absolute(words[0])), at: place(of: list[0]), text: words[0])
        return [absolute(words[0])] + words.dropFirst()
    }

    /// A place where a secret lies. The text of a wrong value is not repeated: it might be the secret.
    func secret(_ node: YAMLNode?) -> SecretSource? {
        guard let node else { return nil }
        let first = notes.outside.count
        guard let source = source(node) else { return nil }
        notes.markInner(from: first)
        notes.point(to: .secret(source), at: place(of: node))
        return source
    }

    private func source(_ node: YAMLNode) -> SecretSource? {
        guard node.mapping != nil, var fields = FieldReader(node, "a secret", source, notes) else {
            notes.add(
                place(of: node), "a secret never stands in this file",
                advice: "write {file: …}, {env: …}, {command: […]} or {credential: …}")
            return nil
        }
        let (file, env) = (fields.optional("file"), fields.optional("env"))
        let (command, credential) = (fields.optional("command"), fields.optional("credential"))
        fields.finish()
        let given = [file, env, command, credential].compactMap { $0 }
        guard given.count == 1 else {
            if node.mapping?.count == given.count {
                notes.add(place(of: node), "a secret needs exactly one of file, env, command, credential")
            }
            return nil
        }
        if file != nil { return path(file).map(SecretSource.file) }
        if command != nil { return self.command(command).map(SecretSource.command) }
        if env != nil {
            return value(env, "the name of a variable") { text in
                let plain = text.utf8.allSatisfy {
                    (0x30...0x39).contains($0) || (0x41...0x5a).contains($0) || (0x61...0x7a).contains($0) || $0 == 0x5f
                }
                return plain && !(0x30...0x39).contains(text.utf8.first ?? 0x30) ? .env(name: text) : nil
            }
        }
        return value(credential, "the name of a credential") { text in
            text.contains("/") || text.hasPrefix(".") || text.utf8.count > 255 ? nil : .credential(name: text)
        }
    }
}
