package import DRPKit
internal import Foundation

/// A runbook as it was read: typed steps in order, each checked against its kind.
package struct Runbook: Sendable, Hashable {
    package struct Step: Sendable, Hashable {
        package var kind: String
        /// Unique in the runbook; the kind if the runbook gives none.
        package var name: String
        /// As written, `${…}` included.
        package var settings: StepSettings
        package var deadline: Duration
        package var retries: Int
        package var failure = FailureRule.pause
        /// In which it is done; left out of runs in others.
        package var modes: Set<RunMode> = [.real, .drill]
        package var line: Int
    }

    package var name: String
    package var about: String
    /// The file as it was named to the reader.
    package var file: String
    package var steps: [Step]
    /// SHA-256 of the file's bytes.
    package var sha256: ContentHash
    /// What each kind may be told; to check values again once the inputs are in.
    package var schemas: [String: StepSchema]

    /// The inputs that a runbook may name, and what they are.
    package static let knownInputs: [String: String] = [
        "client": "the client's id",
        "source": "the site where the client lived when the run began",
        "target": "the site to move to (--to)",
        "at": "the point in time to restore (--at)",
        "old": "what becomes of what an earlier run left at the target: keep or discard",
    ]

    /// The inputs that the steps name.
    package var inputs: Set<String> {
        Set(steps.flatMap { step in step.settings.values.values.flatMap { InputText.names(in: $0) } })
    }

    /// The same runbook with the inputs put in, and the steps of that mode alone.
    /// - Throws: `RunbookError` if an input is missing, or makes a value that its setting does not take.
    package func resolved(with inputs: [String: String], mode: RunMode) throws(RunbookError) -> Runbook {
        var result = self
        result.steps.removeAll { !$0.modes.contains(mode) }
        let steps = result.steps
        var problems: [Problem] = []
        guard !steps.isEmpty else {
            throw RunbookError(
                file: file,
                problems: [Problem(file: file, line: 0, column: 0, "it has no step for the mode \(mode.rawValue)")])
        }
        for index in steps.indices {
            if mode == .drill, schemas[steps[index].kind]?.changesProduction == true {
                problems.append(
                    problem(
                        steps[index], "step \(steps[index].name) would change production in a drill",
                        advice: "Leave it out of drills: `modes: [real]`."))
            }
            for (name, value) in steps[index].settings.values.sorted(by: { $0.key < $1.key }) {
                let used = InputText.names(in: value)
                guard !used.isEmpty else { continue }
                let missing = used.filter { inputs[$0] == nil }
                guard missing.isEmpty else {
                    for input in missing.sorted() {
                        problems.append(
                            problem(
                                steps[index], "step \(steps[index].name) needs the input '\(input)'",
                                advice: Self.knownInputs[input]))
                    }
                    continue
                }
                let filled = InputText.fill(value, with: inputs)
                let spec = schemas[steps[index].kind]?.settings.first { $0.name == name }
                if let spec, !spec.type.accepts(filled) {
                    problems.append(
                        problem(
                            steps[index], "'\(name)' of step \(steps[index].name) must be \(spec.type.inWords)",
                            advice: nil))
                }
                result.steps[index].settings.values[name] = filled
            }
        }
        guard problems.isEmpty else { throw RunbookError(file: file, problems: problems) }
        return result
    }

    private func problem(_ step: Step, _ message: String, advice: String?) -> Problem {
        Problem(file: file, line: step.line, column: 1, message, advice: advice ?? "")
    }
}

/// What becomes of a run whose step has failed for good.
package enum FailureRule: String, Sendable, Codable, Hashable, CaseIterable {
    /// It waits for a person.
    case pause
    /// It takes back what it did, unless that would lose writes.
    case rollback
}

/// A runbook that cannot be used; all its problems at once.
package struct RunbookError: DRPError {
    package var file: String
    /// In the order of the file; never empty.
    package var problems: [Problem]

    package init(file: String, problems: [Problem]) {
        self.file = file
        self.problems = problems
    }

    package var code: ErrorCode { .runbookInvalid }
    package var message: String {
        "the runbook \(file) cannot be used:" + problems.map { "\n  \($0)" }.joined()
    }
}

/// `${name}` inside texts.
enum InputText {
    static func names(in value: JSONValue) -> [String] {
        switch value {
        case .text(let text): parts(of: text).compactMap { if case .input(let name) = $0 { name } else { nil } }
        case .list(let values): values.flatMap(names)
        default: []
        }
    }

    static func fill(_ value: JSONValue, with inputs: [String: String]) -> JSONValue {
        switch value {
        case .text(let text):
            .text(
                parts(of: text).map { part in
                    switch part {
                    case .plain(let text): text
                    case .input(let name): inputs[name] ?? ""
                    }
                }.joined())
        case .list(let values): .list(values.map { fill($0, with: inputs) })
        default: value
        }
    }

    enum Part: Equatable {
        case plain(String)
        case input(String)
    }

    /// What begins with `${` and never ends is an input with all the rest as its name, so that it is found unknown.
    static func parts(of text: String) -> [Part] {
        var parts: [Part] = []
        var rest = text[...]
        while let start = rest.firstRange(of: "${") {
            if start.lowerBound > rest.startIndex { parts.append(.plain(String(rest[..<start.lowerBound]))) }
            let end = rest[start.upperBound...].firstIndex(of: "}") ?? rest.endIndex
            parts.append(.input(String(rest[start.upperBound..<end])))
            rest = end < rest.endIndex ? rest[rest.index(after: end)...] : rest[end...]
        }
        if !rest.isEmpty { parts.append(.plain(String(rest))) }
        return parts
    }
}

extension SettingType {
    /// Whether a value as it came from YAML or from the inputs has this shape.
    func accepts(_ value: JSONValue) -> Bool {
        switch self {
        case .text: !(value.text ?? "").isEmpty
        case .duration: value.text.flatMap(DurationText.parse) != nil
        case .size: value.text.flatMap { ByteCount($0) } != nil
        case .integer: value.integer != nil
        case .boolean: value.boolean != nil
        case .choice(let words): value.text.map(words.contains) ?? false
        case .list: value.list?.allSatisfy { $0.text != nil } ?? false
        case .choices(let words): value.list?.allSatisfy { $0.text.map(words.contains) ?? false } ?? false
        }
    }
}
