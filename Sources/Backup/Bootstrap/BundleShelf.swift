internal import DRPKit
internal import Foundation

/// The bundles in one store: the objects `bootstrap/<number>`.
struct BundleShelf: Sendable {
    /// So many of the newest stay, and for so many days the last one of each.
    static let newest = 10
    static let days = 30

    static let folder = ObjectKey(own: "bootstrap")
    private static let mostTries = 5

    let store: any ObjectStore

    static func key(_ number: Int) -> ObjectKey {
        let digits = String(number)
        return folder.appending(String(repeating: "0", count: max(0, 10 - digits.count)) + digits)
    }

    /// Lowest first.
    func numbers() async throws(StoreError) -> [Int] {
        try await store.list(Self.folder).compactMap { object in
            guard object.key.name.count == 10, let number = Int(object.key.name), number > 0,
                Self.key(number) == object.key
            else { return nil }
            return number
        }.sorted()
    }

    func read(_ number: Int) async throws(StoreError) -> [UInt8] { try await store.read(Self.key(number)) }

    /// Stores a bundle under the next free number.
    /// - Parameter known: the highest number that is seen or remembered: one that is out of sight behind a lock is not given
    ///   again.
    func put(_ bundle: [UInt8], after known: Int) async throws(StoreError) -> Int {
        var number = known + 1
        for _ in 1..<Self.mostTries {
            do {
                try await store.put(Self.key(number), bundle, .lasting)
                return number
            } catch  where error.reason == .alreadyThere {
                // Another machine took it meanwhile.
                number += 1
            }
        }
        try await store.put(Self.key(number), bundle, .lasting)
        return number
    }

    /// Removes bundles that newer ones have made superfluous, by the store's clock: now is when the newest was written.
    /// - Parameters:
    ///   - numbers: of those that are there, lowest first.
    ///   - kept: one that stays in any case: the newest that lacks nothing.
    func tidy(_ numbers: [Int], keeping kept: Int?) async throws(StoreError) {
        guard let newest = numbers.last, numbers.count > Self.newest,
            let now = try await store.written(Self.key(newest))
        else { return }
        var written: [Int: Date] = [:]
        // The newest ones stay, whatever clocks say.
        for number in numbers.dropLast(Self.newest) { written[number] = try await store.written(Self.key(number)) }
        for number in Self.superfluous(numbers, written: written, now: now) where number != kept {
            let key = Self.key(number)
            // Deleted under its lock it would only be out of sight, and nobody would come back for it.
            do { if let until = try await store.lockedUntil(key), until > now { continue } } catch {
                guard error.reason == .missing else { throw error }
            }
            try await store.delete(key)
        }
    }

    /// - Parameter written: by the store's clock; what it does not tell about stays.
    static func superfluous(_ numbers: [Int], written: [Int: Date], now: Date) -> [Int] {
        func day(_ date: Date) -> Int { Int((date.timeIntervalSince1970 / 86_400).rounded(.down)) }
        let old = numbers.sorted().dropLast(newest)
        var lastOfDay: [Int: Int] = [:]
        for number in old { if let date = written[number] { lastOfDay[day(date)] = number } }
        return old.filter { number in
            guard let date = written[number] else { return false }
            return lastOfDay[day(date)] != number || day(now) - day(date) > days
        }
    }
}
