// What ltijs keeps, in memory: the interface of its database plug-ins, without one that has to be compiled.
"use strict";

class Store {
  constructor() {
    this.rows = new Map();
  }

  async setup() {
    return true;
  }

  async Close() {
    return true;
  }

  async Get(encryptionKey, collection, query) {
    const found = this.matching(collection, query);
    if (found.length === 0) return false;
    return found.map((row) => {
      const item = structuredClone(row.item);
      return encryptionKey ? { ...item, createdAt: row.createdAt } : { ...item, ...row.index };
    });
  }

  async Insert(_encryptionKey, collection, item, index) {
    const rows = this.rows.get(collection) ?? [];
    rows.push({ item: structuredClone(item), index: structuredClone(index ?? {}), createdAt: Date.now() });
    this.rows.set(collection, rows);
    return true;
  }

  async Replace(encryptionKey, collection, query, item, index) {
    await this.Delete(collection, query);
    return this.Insert(encryptionKey, collection, item, index);
  }

  async Modify(_encryptionKey, collection, query, modification) {
    for (const row of this.matching(collection, query)) Object.assign(row.item, structuredClone(modification));
    return true;
  }

  async Delete(collection, query) {
    const gone = new Set(this.matching(collection, query));
    this.rows.set(collection, (this.rows.get(collection) ?? []).filter((row) => !gone.has(row)));
    return true;
  }

  matching(collection, query) {
    const wanted = Object.entries(query ?? {});
    return (this.rows.get(collection) ?? []).filter((row) => {
      const values = { ...row.item, ...row.index };
      return wanted.every(([name, value]) => values[name] === value);
    });
  }
}

module.exports = { Store };
