/// The nearest known word to one that was mistyped.
package enum Suggestion {
    /// - Returns: nil if nothing known is near: more than a third of the letters differ.
    package static func nearest(to word: String, among known: some Sequence<String>) -> String? {
        guard word.utf8.count <= 64 else { return nil }
        return known.map { (word: $0, distance: distance(word.lowercased(), $0)) }
            .filter { $0.distance <= max(1, max(word.count, $0.word.count) / 3) }
            .min { ($0.distance, $0.word) < ($1.distance, $1.word) }?.word
    }

    /// Insertions, deletions, replacements and exchanges of neighbours (optimal string alignment).
    static func distance(_ left: String, _ right: String) -> Int {
        let (a, b) = (Array(left), Array(right))
        var rows = [Array(0...b.count)]
        for i in 0..<a.count {
            var row = [i + 1]
            for j in 0..<b.count {
                var best = min(rows[i][j] + (a[i] == b[j] ? 0 : 1), rows[i][j + 1] + 1, row[j] + 1)
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] { best = min(best, rows[i - 1][j - 1] + 1) }
                row.append(best)
            }
            rows.append(row)
        }
        return rows[a.count][b.count]
    }
}
