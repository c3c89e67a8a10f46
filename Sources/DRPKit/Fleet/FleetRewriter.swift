/// Points what fleet files name outside of themselves elsewhere; every other character stays as it was.
package enum FleetRewriter {
    /// - Parameter target: where a reference leads from now on. What stays gets its absolute path, since relative ones
    ///   would lead elsewhere from another folder.
    /// - Returns: the files with their old paths.
    /// - Throws: `FleetError` for files with errors, and for text that it cannot rewrite: what came out was read again and
    ///   does not say what was wanted.
    package static func rewrite(
        _ files: [FleetFile], whole path: String, _ target: (FleetReference.Target) -> FleetReference.Target
    ) throws(FleetError) -> [FleetFile] {
        let reading = FleetReader.read(files, whole: path)
        guard reading.fleet != nil else { throw FleetError(reason: .invalid(reading.problems), path: path) }
        var rewritten: [FleetFile] = []
        for file in files {
            let edits = try edits(of: file, reading.references.filter { $0.file == file.path }, target)
            rewritten.append(FleetFile(path: file.path, bytes: Source(file).replacing(edits)))
        }
        let wanted = reading.references.filter { !$0.isInner }.map { target($0.target) }
        let found = FleetReader.read(rewritten, whole: path)
        guard found.fleet != nil, found.references.filter({ !$0.isInner }).map(\.target) == wanted else {
            throw FleetError(reason: .unreadable("what it names outside of itself cannot be replaced"), path: path)
        }
        return rewritten
    }

    private struct Edit {
        var range: Range<Int>
        var text: String
    }

    private static func edits(
        of file: FleetFile, _ references: [FleetReference], _ target: (FleetReference.Target) -> FleetReference.Target
    ) throws(FleetError) -> [Edit] {
        let source = Source(file)
        var edits: [Edit] = []
        // A secret before what is in it: it may make that superfluous.
        for reference in references.sorted(by: { !$0.isInner && $1.isInner }) {
            let new = target(reference.target)
            let edit: Edit?
            switch new {
            case .secret(.file(let path)) where new != reference.target:
                edit = source.mapping(at: reference).map { Edit(range: $0.range, text: $0.written(path)) }
            case .secret:
                continue
            case .file(let path), .folder(let path), .program(let path):
                guard new != reference.target || reference.text != path else { continue }
                edit = source.scalar(at: reference).map { Edit(range: $0, text: YAMLPath.written(path)) }
            }
            guard let edit else {
                throw FleetError(
                    reason: .unreadable(
                        "what stands at line \(reference.line), column \(reference.column) cannot be replaced"),
                    path: file.path)
            }
            if edits.contains(where: { $0.range.overlaps(edit.range) }) { continue }
            edits.append(edit)
        }
        return edits
    }

    /// The text of a file as scalars, and where its lines begin.
    private struct Source {
        private let scalars: [Unicode.Scalar]
        private let lines: [Int]

        struct Mapping {
            var range: Range<Int>
            var isFlow: Bool

            func written(_ path: String) -> String {
                let entry = "file: \(YAMLPath.written(path))"
                return isFlow ? "{\(entry)}" : entry
            }
        }

        init(_ file: FleetFile) {
            scalars = Array(String(decoding: file.bytes, as: UTF8.self).unicodeScalars)
            var starts = [0]
            for (index, scalar) in scalars.enumerated() {
                let isPair = scalar == "\r" && index + 1 < scalars.count && scalars[index + 1] == "\n"
                if scalar == "\n" || (scalar == "\r" && !isPair) { starts.append(index + 1) }
            }
            lines = starts
        }

        func replacing(_ edits: [Edit]) -> [UInt8] {
            var out = String.UnicodeScalarView()
            var position = 0
            for edit in edits.sorted(by: { $0.range.lowerBound < $1.range.lowerBound }) {
                out.append(contentsOf: scalars[position..<edit.range.lowerBound])
                out.append(contentsOf: edit.text.unicodeScalars)
                position = edit.range.upperBound
            }
            out.append(contentsOf: scalars[position...])
            return Array(String(out).utf8)
        }

        private func offset(_ reference: FleetReference) -> Int? {
            guard lines.indices.contains(reference.line - 1) else { return nil }
            let offset = lines[reference.line - 1] + reference.column - 1
            return scalars.indices.contains(offset) ? offset : nil
        }

        /// Text on one line, quoted or not.
        func scalar(at reference: FleetReference) -> Range<Int>? {
            guard let start = offset(reference) else { return nil }
            if scalars[start] == "\"" || scalars[start] == "'" {
                return quoteEnd(start).map { start..<$0 }
            }
            let end = start + reference.text.unicodeScalars.count
            guard end <= scalars.count, scalars[start..<end].elementsEqual(reference.text.unicodeScalars) else {
                return nil
            }
            return start..<end
        }

        func mapping(at reference: FleetReference) -> Mapping? {
            guard let start = offset(reference) else { return nil }
            return scalars[start] == "{"
                ? flowEnd(start).map { Mapping(range: start..<$0, isFlow: true) }
                : Mapping(range: start..<blockEnd(start, reference), isFlow: false)
        }

        /// Behind the quote that ends the text that begins here.
        private func quoteEnd(_ start: Int) -> Int? {
            let quote = scalars[start]
            var index = start + 1
            while index < scalars.count {
                if quote == "\"" && scalars[index] == "\\" {
                    index += 1
                } else if scalars[index] == quote {
                    guard quote == "'", index + 1 < scalars.count, scalars[index + 1] == quote else { return index + 1 }
                    index += 1
                }
                index += 1
            }
            return nil
        }

        /// Behind the bracket that closes the one here (YAML 1.2, 7.4).
        private func flowEnd(_ start: Int) -> Int? {
            var depth = 0
            var index = start
            var before: Unicode.Scalar = ","
            while index < scalars.count {
                let scalar = scalars[index]
                switch scalar {
                case "{", "[": depth += 1
                case "}", "]":
                    depth -= 1
                    if depth == 0 { return index + 1 }
                case "\"", "'":
                    // Inside of plain text it is a character like any other.
                    if [",", ":", "{", "["].contains(before) {
                        guard let end = quoteEnd(index) else { return nil }
                        index = end - 1
                    }
                case "#" where scalars[index - 1].properties.isWhitespace:
                    while index < scalars.count, scalars[index] != "\n" { index += 1 }
                default: break
                }
                if index < scalars.count, !scalars[index].properties.isWhitespace { before = scalar }
                index += 1
            }
            return nil
        }

        /// Behind the last line that belongs to the one key that begins here: deeper ones, and the list under it.
        private func blockEnd(_ start: Int, _ reference: FleetReference) -> Int {
            var end = lineEnd(reference.line - 1)
            for line in lines.indices.dropFirst(reference.line) {
                let (first, last) = (lines[line], lineEnd(line))
                let indent = scalars[first..<last].prefix { $0 == " " }.count
                guard indent < last - first else { continue }
                let isItem = indent == reference.column - 1 && scalars[first + indent] == "-"
                guard indent >= reference.column || isItem else { break }
                end = last
            }
            while end > start, scalars[end - 1].properties.isWhitespace { end -= 1 }
            return end
        }

        private func lineEnd(_ line: Int) -> Int {
            var end = line + 1 < lines.count ? lines[line + 1] : scalars.count
            while end > lines[line], scalars[end - 1] == "\n" || scalars[end - 1] == "\r" { end -= 1 }
            return end
        }
    }
}

/// Paths as YAML writes them.
private enum YAMLPath {
    /// As it is, where no reader could see anything else in it; quoted otherwise.
    static func written(_ path: String) -> String {
        let isPlain = path.utf8.allSatisfy { byte in
            (0x30...0x39).contains(byte) || (0x41...0x5a).contains(byte) || (0x61...0x7a).contains(byte)
                || Array("/._-".utf8).contains(byte)
        }
        if isPlain && path.hasPrefix("/") { return path }
        let escaped = path.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"")
        return "\"\(escaped)\""
    }
}
