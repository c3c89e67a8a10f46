internal import DRPKit

/// Reads a runbook out of YAML and checks it as a whole: every problem at once, each with file, line and remedy.
package struct RunbookReader {
    private let file: String
    private let schemas: [String: StepSchema]
    private var problems: [Problem] = []

    /// Settings that every step kind knows.
    package static let commonSettings = [
        SettingSpec("name", .text, about: "What the step is called in this run; needed if its kind stands twice."),
        SettingSpec("deadline", .duration, about: "How long the step may take with all its attempts."),
        SettingSpec("retries", .integer, about: "How often it is tried again after an error that may pass (0 to 20)."),
        SettingSpec(
            "on-failure", .choice(FailureRule.allCases.map(\.rawValue)),
            about:
                "`pause` (without this): the run waits for a person; `rollback`: all is taken back, unless that would lose writes."
        ),
        SettingSpec("modes", .list, about: "In which modes it is done: `real`, `drill`; both without this."),
    ]
    private static let mostSteps = 100

    /// - Parameters:
    ///   - bytes: the file's content; at most what `YAMLDocument` takes.
    ///   - schemas: the step kinds that there are, from `StepCatalog.schemas`.
    /// - Throws: `RunbookError` with every problem.
    package static func read(
        bytes: [UInt8], file: String, schemas: [String: StepSchema]
    ) throws(RunbookError) -> Runbook {
        var reader = RunbookReader(file: file, schemas: schemas)
        let (root, problems) = YAMLDocument.parse(bytes: bytes, file: file)
        reader.problems = problems
        let runbook = root.flatMap { reader.runbook($0, bytes: bytes) }
        guard let runbook, !reader.problems.hasErrors else {
            throw RunbookError(file: file, problems: reader.problems.inOrder())
        }
        return runbook
    }

    private init(file: String, schemas: [String: StepSchema]) {
        self.file = file
        self.schemas = schemas
    }

    private mutating func runbook(_ root: YAMLNode, bytes: [UInt8]) -> Runbook? {
        guard let entries = root.mapping else {
            add(root, "a runbook is a mapping with the keys runbook, about, for and steps")
            return nil
        }
        let keys = ["runbook", "about", "for", "steps"]
        for entry in entries where !keys.contains(entry.key) {
            add(entry, "unknown key '\(entry.key)'", advice: Nearest.advice(for: entry.key, among: keys))
        }
        for key in keys where root[key] == nil { add(root, "the key '\(key)' is missing") }
        let name = text(root["runbook"], "runbook")
        // The name becomes a part of the run's name.
        if let name, ClientID(name) == nil, let node = root["runbook"] {
            add(node, "'runbook' must be 1 to 63 of a-z, 0-9 and '-'")
        }
        let about = text(root["about"], "about")
        if let node = root["for"], node.scalar != "client" { add(node, "'for' must be client") }
        let steps = root["steps"].map { readSteps($0) } ?? []
        guard let name, let about else { return nil }
        return Runbook(
            name: name, about: about, file: file, steps: steps, sha256: ContentHash(hashing: bytes), schemas: schemas)
    }

    private mutating func readSteps(_ node: YAMLNode) -> [Runbook.Step] {
        guard let nodes = node.sequence, !nodes.isEmpty else {
            add(node, "'steps' must be a list with at least one step")
            return []
        }
        guard nodes.count <= Self.mostSteps else {
            add(node, "a runbook has at most \(Self.mostSteps) steps")
            return []
        }
        var lines: [String: Int] = [:]
        return nodes.compactMap { node in
            guard let step = readStep(node) else { return nil }
            if let line = lines[step.name] {
                add(
                    node, "there is a step '\(step.name)' at line \(line) already",
                    advice: "give one of them a name of its own with name:")
            }
            lines[step.name] = step.line
            return step
        }
    }

    private mutating func readStep(_ node: YAMLNode) -> Runbook.Step? {
        // `- notify` and `- notify:` both mean a step without settings.
        if let kind = node.scalar { return readStep(kind, at: node, settings: nil) }
        guard let entries = node.mapping, entries.count == 1, let entry = entries.first else {
            add(node, "a step is one key with its settings, as `- deploy: {to: \"${target}\"}`")
            return nil
        }
        let place = YAMLNode(.scalar(entry.key, isPlain: true), line: entry.line, column: entry.column)
        return readStep(entry.key, at: place, settings: entry.value.isNull ? nil : entry.value)
    }

    private mutating func readStep(_ kind: String, at place: YAMLNode, settings: YAMLNode?) -> Runbook.Step? {
        guard let schema = schemas[kind] else {
            let advice = Nearest.advice(for: kind, among: schemas.keys.sorted())
            add(place, "unknown step '\(kind)'", advice: advice)
            return nil
        }
        let specs = schema.settings + Self.commonSettings
        var values: [String: JSONValue] = [:]
        if let settings, settings.mapping == nil {
            add(settings, "the settings of step '\(kind)' must be a mapping, not \(settings.kindInWords)")
        }
        for entry in settings?.mapping ?? [] {
            guard let spec = specs.first(where: { $0.name == entry.key }) else {
                let advice = Nearest.advice(for: entry.key, among: specs.map(\.name))
                add(entry, "step '\(kind)' has no setting '\(entry.key)'", advice: advice)
                continue
            }
            if let value = readValue(entry.value, spec, kind) { values[spec.name] = value }
        }
        for spec in schema.settings where spec.presence == .required && settings?[spec.name] == nil {
            add(place, "step '\(kind)' needs the setting '\(spec.name)'", advice: spec.about)
        }
        let name = values.removeValue(forKey: "name")?.text ?? kind
        if ClientID(name) == nil { add(place, "the name of a step must be 1 to 63 of a-z, 0-9 and '-'") }
        let deadline = values.removeValue(forKey: "deadline")?.text.flatMap(DurationText.parse) ?? schema.deadline
        if deadline <= .zero { add(place, "the deadline of step '\(kind)' must be more than nothing") }
        let retries = values.removeValue(forKey: "retries")?.integer ?? Int64(schema.retries)
        if !(0...20).contains(retries) { add(place, "'retries' of step '\(kind)' must be 0 to 20") }
        let failure = values.removeValue(forKey: "on-failure")?.text.flatMap(FailureRule.init(rawValue:)) ?? .pause
        let words = values.removeValue(forKey: "modes")?.list?.compactMap(\.text) ?? ["real", "drill"]
        let modes = words.compactMap { RunMode(rawValue: $0) }
        if modes.isEmpty || modes.count != words.count {
            add(place, "'modes' of step '\(kind)' must be a list of real and drill")
        }
        return Runbook.Step(
            kind: kind, name: name, settings: StepSettings(values), deadline: deadline,
            retries: Int(clamping: retries), failure: failure, modes: Set(modes), line: place.line)
    }

    /// The value in the shape of `spec`, or nil with a problem noted. A text with inputs in it is checked when they
    /// are known, except that they must be known ones, and may not stand in the engine's own settings.
    private mutating func readValue(_ node: YAMLNode, _ spec: SettingSpec, _ kind: String) -> JSONValue? {
        let value = convert(node, spec.type)
        let inputs = value.map { InputText.names(in: $0) } ?? []
        guard inputs.isEmpty else {
            if Self.commonSettings.contains(spec) {
                add(node, "'\(spec.name)' of step '\(kind)' cannot come from an input")
            }
            for input in inputs where Runbook.knownInputs[input] == nil {
                add(
                    node, "unknown input '${\(input)}'",
                    advice: Nearest.advice(for: input, among: Runbook.knownInputs.keys.sorted()))
            }
            return value
        }
        guard let value, spec.type.accepts(value) else {
            add(node, "'\(spec.name)' of step '\(kind)' must be \(spec.type.inWords), not \(shown(node))")
            return nil
        }
        return value
    }

    private func convert(_ node: YAMLNode, _ type: SettingType) -> JSONValue? {
        switch type {
        case .list, .choices:
            guard let nodes = node.sequence else { return nil }
            let texts = nodes.compactMap(\.scalar)
            return texts.count == nodes.count ? .list(texts.map { .text($0) }) : nil
        case .integer:
            guard let text = node.scalar else { return nil }
            return Int64(text).map { .integer($0) } ?? .text(text)
        case .boolean:
            guard let text = node.scalar else { return nil }
            return text == "true" ? .boolean(true) : text == "false" ? .boolean(false) : .text(text)
        case .text, .duration, .size, .choice:
            return node.scalar.map { .text($0) }
        }
    }

    private func shown(_ node: YAMLNode) -> String {
        guard let text = node.scalar else { return node.kindInWords }
        return "'\(text.prefix(40))'"
    }

    private mutating func text(_ node: YAMLNode?, _ key: String) -> String? {
        guard let node else { return nil }
        guard let text = node.scalar, !text.isEmpty else {
            add(node, "'\(key)' must be text")
            return nil
        }
        return text
    }

    private mutating func add(_ node: YAMLNode, _ message: String, advice: String = "") {
        problems.append(Problem(file: file, line: node.line, column: node.column, message, advice: advice))
    }

    private mutating func add(_ entry: YAMLNode.Entry, _ message: String, advice: String) {
        problems.append(Problem(file: file, line: entry.line, column: entry.column, message, advice: advice))
    }
}

/// The known word that somebody probably meant.
enum Nearest {
    /// `did you mean 'deploy'?`, or all known words if none is near.
    static func advice(for word: String, among known: [String]) -> String {
        let near = known.map { ($0, distance(word, $0)) }.min { $0.1 < $1.1 }
        if let near, near.1 <= max(2, near.0.count / 3) { return "did you mean '\(near.0)'?" }
        return known.isEmpty ? "there are none" : "known: \(known.joined(separator: ", "))"
    }

    /// Levenshtein's distance in bytes; words over 64 bytes are far from all.
    static func distance(_ left: String, _ right: String) -> Int {
        let (left, right) = (Array(left.utf8), Array(right.utf8))
        guard left.count <= 64, right.count <= 64 else { return .max }
        var row = Array(0...right.count)
        for i in 0..<left.count {
            var diagonal = row[0]
            row[0] = i + 1
            for j in 0..<right.count {
                let replaced = diagonal + (left[i] == right[j] ? 0 : 1)
                diagonal = row[j + 1]
                row[j + 1] = min(replaced, row[j] + 1, diagonal + 1)
            }
        }
        return row[right.count]
    }
}
