// The questions to the historical database, on top of the functions of schemas.q. Written in what q and the language of the server that
// the tests run them on have in common, which is why statements end with semicolons.
// s: symbol; r: first and last time; n: only rows of later events than this; k: so many rows at the most

.te.all:{[t] get t};

// The event that a stream has reached; there is none where no row says so
.te.reached:{[s] select max sequence from progress where sym=s};

.te.page:{[t;s;r;n;k]
  b:.te.rows[t;s;r;n];
  select from b where i<k};

// Each trade with the last quote before it in the order of the venue. q: first and last time of the quotes to look at
.te.quoted:{[s;r;q;n;k]
  b:.te.page[`trade;s;r;n;k];
  c:.te.rows[`quote;s;q;0];
  d:select sequence,quoted:time,quoted_by:sequence,bid,bsize,ask,asize from c;
  aj[`sequence;b;d]};

// Notional in two parts, billions and the rest: a sum of products of 62 bits each would not fit
.te.bars:{[s;r;w;k]
  a:.te.rows[`trade;s;r;0];
  b:select open:first price,high:max price,low:min price,close:last price,volume:sum size,billions:sum (price*size) div 1000000000,
    rest:sum (price*size) mod 1000000000,trades:count i by bar:.te.bucket[w;time] from a;
  c:.te.plain b;
  select from c where i<k};

.te.vwap:{[s;r]
  a:.te.rows[`trade;s;r;0];
  select billions:sum (price*size) div 1000000000,rest:sum (price*size) mod 1000000000,volume:sum size,trades:count i from a};
