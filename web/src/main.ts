declare const WORKER: string;
console.log(WORKER);
