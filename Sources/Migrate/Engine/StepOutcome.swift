package import DRPKit

/// What a step found or made, as facts by name: later steps, the report and the journal read them. Never a secret.
package struct StepOutcome: Sendable, Hashable, Codable, ExpressibleByDictionaryLiteral {
    package var facts: [String: JSONValue]

    package init(_ facts: [String: JSONValue] = [:]) { self.facts = facts }
    package init(dictionaryLiteral elements: (String, JSONValue)...) {
        facts = Dictionary(elements, uniquingKeysWith: { $1 })
    }
    /// - Returns: nil if `json` is no object.
    package init?(json: JSONValue?) {
        guard let facts = json?.object else { return nil }
        self.facts = facts
    }

    package var json: JSONValue { .object(facts) }

    package subscript(name: String) -> JSONValue? {
        get { facts[name] }
        set { facts[name] = newValue }
    }

    package func text(_ name: String) -> String? { facts[name]?.text }
    package func integer(_ name: String) -> Int64? { facts[name]?.integer }
}
