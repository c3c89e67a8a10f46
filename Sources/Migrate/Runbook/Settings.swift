package import DRPKit

/// The shape of one setting of a step.
package enum SettingType: Sendable, Hashable {
    case text
    /// `30s`, `5m`, `1h`, `7d`.
    case duration
    /// `64MiB`, `1GB`.
    case size
    case integer
    /// `true` or `false`.
    case boolean
    /// One of these words.
    case choice([String])
    /// A list of texts.
    case list
    /// A list of some of these words.
    case choices([String])

    /// For messages and the reference page.
    package var inWords: String {
        switch self {
        case .text: "text"
        case .duration: "a duration such as 30s, 5m, 1h"
        case .size: "a size such as 64MiB"
        case .integer: "a whole number"
        case .boolean: "true or false"
        case .choice(let words): "one of \(words.joined(separator: ", "))"
        case .list: "a list of texts"
        case .choices(let words): "a list out of \(words.joined(separator: ", "))"
        }
    }
}

/// One setting that a step kind knows.
package struct SettingSpec: Sendable, Hashable {
    package enum Presence: Sendable, Hashable { case required, optional }

    package var name: String
    package var type: SettingType
    package var presence: Presence
    /// One sentence for the reference page.
    package var about: String

    package init(_ name: String, _ type: SettingType, _ presence: Presence = .optional, about: String) {
        self.name = name
        self.type = type
        self.presence = presence
        self.about = about
    }
}

/// What the validator knows of a step kind.
package struct StepSchema: Sendable, Hashable {
    package var settings: [SettingSpec]
    package var deadline: Duration
    package var retries: Int
    /// Not for drills.
    package var changesProduction: Bool

    package init(settings: [SettingSpec], deadline: Duration, retries: Int, changesProduction: Bool = false) {
        self.settings = settings
        self.deadline = deadline
        self.retries = retries
        self.changesProduction = changesProduction
    }
}

/// The settings of one step with the inputs put in; every value has been checked against the schema. As JSON, for the
/// journal: durations and sizes stay text, as written.
package struct StepSettings: Sendable, Hashable {
    package var values: [String: JSONValue]

    package init(_ values: [String: JSONValue] = [:]) { self.values = values }

    package func text(_ name: String) -> String? { values[name]?.text }
    package func duration(_ name: String) -> Duration? { values[name]?.text.flatMap(DurationText.parse) }
    package func size(_ name: String) -> ByteCount? { values[name]?.text.flatMap { ByteCount($0) } }
    package func integer(_ name: String) -> Int64? { values[name]?.integer }
    package func boolean(_ name: String) -> Bool? { values[name]?.boolean }
    package func list(_ name: String) -> [String]? { values[name]?.list?.compactMap(\.text) }
}
