"""Rates that RedPajama's library (`simhash` 2.1.2 on PyPI, MD5, w = 6, k = 5) finds edited answers at,
by the Jaccard similarity of 3-word shingles: what tests/main/duplicates.rs compares its own with.

    pip install simhash
    python check_simhash.py ../../../../shared/data/alpaca
"""
import json
import random
import re
import sys

from simhash import Simhash
def feats(s,w=6):
    s=re.sub(r'[^\w]+','',s.lower()); return [s[i:i+w] for i in range(max(len(s)-w+1,1))]
def words(s):
    out=[]
    for t in re.findall(r"[\u3400-\u9fff]|[^\W\u3400-\u9fff_]+",s.lower().replace("'","")): out.append(t)
    return out
def sh(s): w=words(s); return {tuple(w[i:i+3]) for i in range(len(w)-2)}
def edit(t,n,R):
    t=list(t)
    for _ in range(n):
        if not t: break
        at=R.randrange(len(t)); e=min(at+1+R.randrange(12),len(t)); k=R.randrange(6)
        if k==0: del t[at:e]
        elif k==1: t[at]=chr(97+R.randrange(26))
        elif k==2:
            m=t[at:e]; del t[at:e]; to=R.randrange(len(t)+1); t[to:to]=m
        elif k==3: t[at:at]=t[at:e]
        elif k==4: t[at]=t[at].upper()
        else: t.insert(at,'\n')
    return ''.join(t)
for lang in ['en','zh']:
    R=random.Random(5); rec=[r['output'] for r in json.load(open(f'{sys.argv[1]}/alpaca_{lang}_1k.json'))]
    rec=[r for r in rec if len(r)>=40]
    B={}
    for t in rec:
        for _ in range(2):
            c=edit(t,1+R.randrange(24),R); a,b=sh(t),sh(c)
            if not a or not b: continue
            j=len(a&b)/len(a|b)
            key=next((x for x in (.95,.9,.8) if j>=x),None)
            if key is None: continue
            d=Simhash(feats(t)).distance(Simhash(feats(c)))
            fa,fb=set(feats(t)),set(feats(c))
            B.setdefault(key,[]).append((d,len(fa&fb)/len(fa|fb)))
    for k in sorted(B): print(lang,k,len(B[k]),'<=5:',sum(d<=5 for d,_ in B[k])/len(B[k]),'mean d',sum(d for d,_ in B[k])/len(B[k]),'mean J6',sum(j for _,j in B[k])/len(B[k]))
