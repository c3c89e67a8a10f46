import Foundation
import Testing

/// What commands print, compared word for word with `Tests/Fixtures/transcripts/NAME.txt`; RECORD=1 writes the file
/// anew, and the difference is for a person to review. What differs from run to run is replaced by its kind first.
enum Transcript {
    static func expect(
        _ name: String, _ commands: [String], in world: DemoWorld, sourceLocation: SourceLocation = #_sourceLocation
    ) async throws {
        var text = ""
        for command in commands {
            let ended = try await world.drp(command.split(separator: " ").map(String.init))
            text += "$ drp \(command)\n\(ended.stdout)\(ended.stderr)"
            text += ended.status == 0 ? "\n" : "status \(ended.status)\n\n"
        }
        let path = "\(DemoWorld.root)/Tests/Fixtures/transcripts/\(name).txt"
        let found = normal(text, world)
        if DemoWorld.environment["RECORD"] == "1" {
            try found.write(toFile: path, atomically: true, encoding: .utf8)
        }
        let expected = try String(contentsOfFile: path, encoding: .utf8)
        #expect(found == expected, "RECORD=1 rewrites \(name).txt", sourceLocation: sourceLocation)
    }

    private static let kinds: [(pattern: String, kind: String)] = [
        ("[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}", "UUID"),
        ("([0-9a-f]{4}-){7}[0-9a-f]{4}", "FINGERPRINT"),
        ("[0-9a-f]{64}", "HASH"), ("\\b[0-9a-f]{16}\\b", "DIGEST"),
        ("\\b[0-9a-f]{2}/HASH", "HASH"),
        ("drp1[0-9a-z]+", "RECIPIENT"),
        ("\\d{4}-\\d\\d-\\d\\d \\d\\d:\\d\\d:\\d\\d UTC", "TIME"),
        ("cluster time \\d+:\\d+", "cluster time T"),
        ("[\\d.,]+ (B|kB|MB|GB)\\b", "SIZE"), ("[\\d.]+ s\\b", "SECONDS"), ("[\\d.]+ %", "SHARE"),
        ("ratio [\\d.]+", "ratio R"),
        ("127\\.\\d+\\.\\d+\\.\\d+(:\\d+)?", "ADDRESS"),
        ("(MongoDB|Redis) \\d+\\.\\d+\\.\\d+", "$1 VERSION"),
        // Widths of columns follow their content.
        ("(?<=\\S) {2,}(?=\\S)", "  "),
    ]

    private static func normal(_ text: String, _ world: DemoWorld) -> String {
        kinds.reduce(text.replacingOccurrences(of: world.folder, with: "FOLDER")) { text, rule in
            text.replacingOccurrences(of: rule.pattern, with: rule.kind, options: .regularExpression)
        }
    }
}
